"""The one error that is meant for people."""


class TonyError(ValueError):
    """Something a person can put right: what was wrong, where, and what to do, in one line.

    The command line prints its text and exits with status 2; the API answers with the OpenAI error object.
    """

"""Chat templates: how the text of a conversation is written for a model that was tuned to answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tony.errors import TonyError


@dataclass(frozen=True)
class ChatTemplate:
    """A template in the form that Hugging Face's tokenizers carry: Jinja2, over messages of role and content.

    Attributes:
        source: the template.
        bos, eos: the tokens that begin and end a text; templates may name them.
    """

    source: str
    bos: str = ""
    eos: str = ""

    def render(self, messages: Sequence[Mapping[str, str]], answer: str = "") -> str:
        """The conversation up to where the model's next answer begins, and `answer`, the beginning of it.

        The template comes with the model, so it is rendered in Jinja2's sandbox.

        Raises:
            TonyError: the template is none, or refuses these messages.
        """
        from jinja2 import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = _refuse
        try:
            template = environment.from_string(self.source)
            asked = template.render(
                messages=list(messages), add_generation_prompt=True, bos_token=self.bos, eos_token=self.eos
            )
        except (
            TemplateError,
            ArithmeticError,
            AttributeError,
            LookupError,
            RecursionError,
            TypeError,
            ValueError,
        ) as error:
            raise TonyError(
                f"the model's chat template cannot be used ({error}). Ask it as plain text, without --chat"
            ) from None
        return asked + answer


def _refuse(message: str) -> None:
    from jinja2 import TemplateError

    raise TemplateError(message)

// The client of the quiz's API; errors are Errors whose message is fit for people.

const PARTICIPANTS = "/quiz/api/participants";

/** The token of a new participant. */
export async function begin() {
  return (await (await call(PARTICIPANTS, {})).json()).token;
}

/** Where a participant is: {answered, total, question}; null if this quiz does not know them. */
export async function stateOf(token) {
  const response = await call(`${PARTICIPANTS}/${encodeURIComponent(token)}`);
  return response.status === 404 ? null : response.json();
}

/** Keeps an answer; the state after it. */
export async function answer(token, place, rating) {
  const response = await call(`${PARTICIPANTS}/${encodeURIComponent(token)}/answers`, { place, rating });
  return response.status === 404 ? null : response.json();
}

async function call(address, body) {
  const request = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let response;
  try {
    response = await fetch(address, request);
  } catch {
    throw new Error("The server does not answer. Is it still running? Your answers so far are kept.");
  }
  if (!response.ok && response.status !== 404) throw new Error(`The server answered with status ${response.status}. Reload the page.`);
  return response;
}

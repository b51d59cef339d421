// The client of POST /v1/chat/completions: an async generator of the deltas of one streamed reply.

/** Yields each `delta`; throws an Error whose message is fit for people. */
export async function* chat(request, signal) {
  let response;
  try {
    response = await fetch("/v1/chat/completions", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ ...request, stream: true }),
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer: is it still running?");
  }
  if (!response.ok) throw new Error(await reasonOf(response));
  for await (const data of events(response.body)) {
    if (data === "[DONE]") return;
    const event = JSON.parse(data);
    if (event.error) throw new Error(sentence(event.error.message));
    for (const choice of event.choices) yield choice.delta;
  }
  throw new Error("The reply broke off: is the server still running?");
}

/** The data of each server-sent event. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      if (block.startsWith("data: ")) yield block.slice(6);
    }
  }
}

async function reasonOf(response) {
  try {
    return sentence((await response.json()).error.message);
  } catch {
    return `The server answered with status ${response.status}.`;
  }
}

/** "messages[0].content[1].image_url.url: the data ..." as a person would say it. */
function sentence(message) {
  const plain = message.replace(/^messages\[\d+\]\S*:\s*/, "");
  return plain.charAt(0).toUpperCase() + plain.slice(1) + (/[.!?]$/.test(plain) ? "" : ".");
}

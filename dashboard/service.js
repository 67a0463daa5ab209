// Talks to the service.

/** Longest wait for a verdict that was promised, in milliseconds. */
const PROMISE_WAIT_MAX = 60_000;

/** What went wrong, in words. */
export class Problem extends Error {
  constructor(title, detail, hint = "") {
    super(title);
    this.detail = detail;
    this.hint = hint;
  }
}

/** Posts a review. `onPromise` is called with its id where the verdict takes longer than the service waits. */
export async function judge(review, onPromise) {
  const response = await ask("/analyze", {
    method: "POST",
    headers: { "content-type": "application/json", prefer: "wait=5" },
    body: JSON.stringify({ review, source: "page" }),
  });
  if (response.status !== 202) return response.json();
  const { id, location } = await response.json();
  onPromise(id);
  const deadline = performance.now() + PROMISE_WAIT_MAX;
  while (performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const found = await ask(location);
    if (found.status === 200) return found.json();
  }
  throw new Problem("No verdict yet", `The review is safe, and its verdict will be at ${location}.`);
}

/** Says which label is right. Resolves once that is durable. */
export async function sayLabel(id, label) {
  await ask("/feedback", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ id, label, by: "page" }),
  });
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Problem("The service does not answer", "It may be restarting, and this was perhaps not taken: try again.");
  }
  if (response.ok) return response;
  throw await problemOf(response);
}

async function problemOf(response) {
  const isProblem = (response.headers.get("content-type") ?? "").startsWith("application/problem+json");
  if (!isProblem) return new Problem(`The service answered ${response.status}`, response.statusText);
  const problem = await response.json();
  const fields = (problem.errors ?? []).map((error) => capitalise(error.message));
  const hint = problem.retry_after ? `Try again in ${problem.retry_after} s.` : "";
  return new Problem(problem.title, fields.join(" ") || capitalise(problem.detail), hint);
}

const capitalise = (sentence) => sentence.charAt(0).toUpperCase() + sentence.slice(1) + (/[.!?]$/.test(sentence) ? "" : ".");

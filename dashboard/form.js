// The box to try a review in, and the answer below it. Text goes in by `textContent` only: a review is never markup.

import { openFeedback } from "./feedback.js";
import { Problem, judge } from "./service.js";
import { milliseconds, modelName, percent, toneOf } from "./words.js";

/** As the service has it; it counts after folding white space, so this is only advice. */
const CHARACTERS_MAX = 10_000;

export function openForm(page, onJudged) {
  const form = page.getElementById("form");
  const review = page.getElementById("review");
  const button = page.getElementById("judge");
  const length = page.getElementById("review-length");
  const result = page.getElementById("result");
  const feedback = openFeedback(page);
  let busy = false;

  const count = () => {
    const characters = [...review.value].length;
    length.textContent = `${characters.toLocaleString("en")} of ${CHARACTERS_MAX.toLocaleString("en")}`;
  };

  const submit = async () => {
    if (busy) return;
    busy = true;
    button.setAttribute("aria-busy", "true");
    const start = performance.now();
    feedback.leave();
    try {
      const verdict = await judge(review.value, () => {
        result.replaceChildren(quiet(page, "Taken. The verdict is still to come."));
      });
      onJudged(verdict.id);
      result.replaceChildren(answer(page, verdict, performance.now() - start));
      feedback.ask(verdict);
    } catch (error) {
      result.replaceChildren(trouble(page, error));
    } finally {
      busy = false;
      button.removeAttribute("aria-busy");
    }
  };

  review.addEventListener("input", count);
  review.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      submit();
    }
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  count();
}

function answer(page, verdict, roundTrip) {
  const shown = page.getElementById("result-template").content.cloneNode(true);
  const judged = shown.querySelector(".judged");
  judged.dataset.label = toneOf(verdict.label);
  judged.querySelector(".label").textContent = verdict.label;
  judged.querySelector(".sure").textContent = `${percent(verdict.confidence)} sure`;
  judged.querySelector(".bar span").style.setProperty("--share", verdict.confidence);

  const byProbability = Object.entries(verdict.probabilities).sort(([, one], [, other]) => other - one);
  judged.querySelector(".probabilities").append(...byProbability.map(([label, share]) => probability(page, label, share)));

  judged.querySelector(".facts").append(
    ...fact(page, "Model", modelName(verdict.model)),
    ...fact(page, "Time", `${milliseconds(roundTrip)} there and back, ${milliseconds(verdict.inference_ms)} in the model`),
    ...fact(page, "Tokens", verdict.truncated ? `${verdict.tokens}, the rest was cut off` : String(verdict.tokens)),
    ...fact(page, "Id", verdict.id),
    ...fact(page, "Trace", verdict.trace_id ?? "none"),
  );
  return shown;
}

function probability(page, label, share) {
  const row = page.createElement("div");
  row.dataset.label = toneOf(label);
  const name = page.createElement("dt");
  name.textContent = label;
  const track = page.createElement("dd");
  track.className = "track";
  track.setAttribute("aria-hidden", "true");
  track.append(page.createElement("span"));
  track.firstChild.style.setProperty("--share", share);
  const number = page.createElement("dd");
  number.className = "number";
  number.textContent = share.toFixed(4);
  row.append(name, track, number);
  return row;
}

function fact(page, name, value) {
  const term = page.createElement("dt");
  term.textContent = name;
  const description = page.createElement("dd");
  description.textContent = value;
  return [term, description];
}

function trouble(page, error) {
  const shown = page.getElementById("problem-template").content.cloneNode(true);
  const known = error instanceof Problem;
  shown.querySelector(".headline").textContent = known ? error.message : "The page made a mistake";
  shown.querySelector(".detail").textContent = known ? error.detail : String(error);
  shown.querySelector(".hint").textContent = known ? error.hint : "";
  return shown;
}

function quiet(page, words) {
  const paragraph = page.createElement("p");
  paragraph.className = "quiet";
  paragraph.textContent = words;
  return paragraph;
}

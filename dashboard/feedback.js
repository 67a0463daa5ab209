// Below a verdict: whether it is right, as people see it.

import { sayLabel } from "./service.js";
import { toneOf } from "./words.js";

/** Shows the question below each verdict. The verdict's own label comes first, then the others, the likeliest first. */
export function openFeedback(page) {
  const section = page.getElementById("feedback");
  const choices = page.getElementById("feedback-choices");
  const said = page.getElementById("feedback-said");
  let asked = null;

  const say = async (verdict, label, button) => {
    if (button.getAttribute("aria-busy") === "true") return;
    button.setAttribute("aria-busy", "true");
    try {
      await sayLabel(verdict.id, label);
      // Another review may have been judged meanwhile: then this answer is of no interest any more.
      if (asked !== verdict.id) return;
      for (const each of choices.children) each.setAttribute("aria-pressed", String(each === button));
      said.textContent = `Thank you: ${label} is noted.`;
    } catch (error) {
      if (asked === verdict.id) said.textContent = [error.message, error.detail, error.hint].filter(Boolean).join(". ").replaceAll("..", ".");
    } finally {
      button.removeAttribute("aria-busy");
    }
  };

  const choice = (verdict, label) => {
    const button = page.createElement("button");
    button.type = "button";
    button.className = "choice";
    button.dataset.label = toneOf(label);
    button.setAttribute("aria-pressed", "false");
    button.textContent = label === verdict.label ? "Right" : `Wrong, it is ${label}`;
    button.addEventListener("click", () => say(verdict, label, button));
    return button;
  };

  return {
    ask(verdict) {
      asked = verdict.id;
      said.textContent = "";
      const others = Object.entries(verdict.probabilities).filter(([label]) => label !== verdict.label);
      const labels = others.sort(([, one], [, other]) => other - one).map(([label]) => label);
      choices.replaceChildren(...[verdict.label, ...labels].map((label) => choice(verdict, label)));
      section.hidden = false;
    },
    leave() {
      asked = null;
      section.hidden = true;
    },
  };
}

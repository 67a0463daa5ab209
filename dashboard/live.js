// The verdicts as they come: the stream, the figures of the last minute, the list.

import { Minute, outline } from "./minute.js";
import { modelName, number, percent, toneOf } from "./words.js";

/** Most verdicts in the list. */
const LISTED_MAX = 50;

/** Of the reviews posted here, so many stay in the list however fast others come. */
const OWN_MAX = 5;

/** The list is drawn at most so often, in milliseconds: nobody reads a thousand lines a second. */
const DRAW_EVERY = 250;

export function openLive(page) {
  const now = () => performance.now() / 1000;
  const minute = new Minute(now());
  const own = new Set();
  let latest = [];
  let lost = 0;
  let drawing = false;

  const list = page.getElementById("verdicts");
  const noneYet = page.getElementById("none-yet");
  const notice = page.getElementById("lost");

  const trim = (verdicts) => {
    let room = LISTED_MAX;
    return verdicts.filter(({ id }) => own.has(id) || room-- > 0);
  };
  const draw = () => {
    drawing = false;
    const drawn = new Map([...list.children].map((row) => [row.dataset.id, row]));
    list.replaceChildren(...latest.map((verdict) => drawn.get(verdict.id) ?? row(page, verdict)));
    for (const line of list.children) line.classList.toggle("own", own.has(line.dataset.id));
    noneYet.hidden = latest.length > 0;
  };
  const drawSoon = () => {
    if (drawing) return;
    drawing = true;
    setTimeout(draw, DRAW_EVERY);
  };

  const source = new EventSource("/verdicts/stream");
  source.addEventListener("open", () => connection(page, "open", "Live"));
  source.addEventListener("error", () => {
    // The browser gives up where the service refuses the stream, and tries again where it is away.
    const refused = source.readyState === EventSource.CLOSED;
    connection(page, "lost", refused ? "The stream is refused; reload to try again" : "Connection lost, trying again");
  });
  source.addEventListener("verdict", ({ data }) => {
    const verdict = JSON.parse(data);
    minute.add(verdict.label, now());
    latest = trim([verdict, ...latest.filter(({ id }) => id !== verdict.id)]);
    drawSoon();
  });
  source.addEventListener("lagged", ({ data }) => {
    lost += JSON.parse(data).lost;
    notice.textContent = `${lost.toLocaleString("en")} verdicts came faster than this page could read and are not shown. None is lost: they are stored.`;
    notice.hidden = false;
  });
  addEventListener("pagehide", () => source.close());

  figures(page, minute, now());
  setInterval(() => figures(page, minute, now()), 1000);

  return {
    markOwn(id) {
      own.add(id);
      if (own.size > OWN_MAX) own.delete(own.values().next().value);
      drawSoon();
    },
  };
}

function connection(page, state, words) {
  page.getElementById("connection").dataset.state = state;
  page.getElementById("connection-words").textContent = words;
}

function row(page, verdict) {
  const line = page.getElementById("verdict-template").content.cloneNode(true).querySelector(".verdict");
  line.dataset.id = verdict.id;
  line.dataset.label = toneOf(verdict.label);
  line.querySelector(".label").textContent = verdict.label;
  line.querySelector(".confidence").textContent = percent(verdict.confidence);
  line.querySelector(".origin").textContent = [verdict.source, modelName(verdict.model)].filter(Boolean).join(" · ");
  const time = line.querySelector("time");
  time.dateTime = verdict.scored_at;
  time.textContent = new Date(verdict.scored_at).toLocaleTimeString("en-GB");
  line.querySelector(".text").textContent = verdict.review ?? "Its text is not kept.";
  return line;
}

function figures(page, minute, now) {
  const counts = minute.counts(now);
  const labels = minute.labels(now);
  const sum = labels.reduce((all, [, count]) => all + count, 0);
  page.getElementById("rate").textContent = number(minute.rate(now));
  page.getElementById("minute-count").textContent = sum > 0 ? `${sum.toLocaleString("en")}, at most ${Math.max(0, ...counts).toLocaleString("en")} a second` : "";

  const { line, area } = outline(counts, 240, 48);
  page.querySelector("#sparkline .line").setAttribute("d", line);
  page.querySelector("#sparkline .area").setAttribute("d", area);

  const bars = labels.map(([label, count]) => {
    const bar = page.createElement("span");
    bar.dataset.label = toneOf(label);
    bar.style.setProperty("--share", count / sum);
    return bar;
  });
  page.getElementById("shares").replaceChildren(...bars);
  const words = labels.map(([label, count]) => {
    const word = page.createElement("span");
    word.dataset.label = toneOf(label);
    const name = page.createElement("b");
    name.textContent = label;
    word.append(name, ` ${percent(count / sum)}`);
    return word;
  });
  page.getElementById("shares-words").replaceChildren(...(words.length > 0 ? words : ["No verdict in the last minute."]));
}

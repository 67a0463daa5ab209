// Counts of the last minute, by second and label. Time is an argument, in seconds. What came before `start` is unknown, not
// nothing.

export const SECONDS = 60;

export class Minute {
  #start;
  #seconds = Array.from({ length: SECONDS }, () => ({ of: -1, count: 0, labels: new Map() }));

  constructor(start) {
    this.#start = Math.floor(start);
  }

  add(label, now) {
    const second = this.#at(Math.floor(now));
    second.count += 1;
    second.labels.set(label, (second.labels.get(label) ?? 0) + 1);
  }

  /** Counts of the full seconds since the start, 60 at most, oldest first. The running one would look like a fall. */
  counts(now) {
    const end = Math.floor(now);
    const begin = Math.max(this.#start, end - SECONDS);
    return Array.from({ length: end - begin }, (_, index) => this.#count(begin + index));
  }

  /** Verdicts a second, mean of the last ten full seconds. */
  rate(now) {
    const counts = this.counts(now).slice(-10);
    return counts.length > 0 ? counts.reduce((sum, count) => sum + count, 0) / counts.length : 0;
  }

  /** Counts by label, most frequent first; the running second included. */
  labels(now) {
    const oldest = Math.floor(now) - SECONDS;
    const sums = new Map();
    for (const second of this.#seconds.filter(({ of }) => of > oldest)) {
      for (const [label, count] of second.labels) sums.set(label, (sums.get(label) ?? 0) + count);
    }
    return [...sums].sort(([one], [other]) => (one < other ? 1 : -1));
  }

  #at(of) {
    const slot = this.#seconds[of % SECONDS];
    if (slot.of !== of) Object.assign(slot, { of, count: 0, labels: new Map() });
    return slot;
  }

  #count(of) {
    const slot = this.#seconds[of % SECONDS];
    return slot.of === of ? slot.count : 0;
  }
}

/** The outline of `counts` in a box, newest at its right edge, as the `d` of a path: open for the line, closed for the area. */
export function outline(counts, width, height) {
  if (counts.length === 0) return { line: "", area: "" };
  const step = width / (SECONDS - 1);
  const left = width - (counts.length - 1) * step;
  const most = Math.max(1, ...counts);
  const points = counts.map((count, index) => {
    const x = left + index * step;
    const y = height - 2 - (count / most) * (height - 4);
    return `${x.toFixed(1)} ${y.toFixed(1)}`;
  });
  const line = `M${points.join("L")}`;
  return { line, area: `${line}L${width} ${height}L${left.toFixed(1)} ${height}Z` };
}

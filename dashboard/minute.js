// Counts of the last minute, by second and label. Time is an argument, in seconds.

export const SECONDS = 60;

export class Minute {
  #seconds = Array.from({ length: SECONDS }, () => ({ of: -1, count: 0, labels: new Map() }));

  add(label, now) {
    const second = this.#at(Math.floor(now));
    second.count += 1;
    second.labels.set(label, (second.labels.get(label) ?? 0) + 1);
  }

  /** Counts of the last 60 full seconds, oldest first. The running one is left out: it would look like a fall. */
  counts(now) {
    const last = Math.floor(now) - 1;
    return Array.from({ length: SECONDS }, (_, index) => this.#count(last - SECONDS + 1 + index));
  }

  /** Verdicts a second, mean of the last ten full seconds. */
  rate(now) {
    return this.counts(now).slice(-10).reduce((sum, count) => sum + count, 0) / 10;
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
    const slot = this.#seconds[((of % SECONDS) + SECONDS) % SECONDS];
    return slot.of === of ? slot.count : 0;
  }
}

/** The outline of `counts` in a box, as the `d` of a path: open for the line, closed for the area. */
export function outline(counts, width, height) {
  const most = Math.max(1, ...counts);
  const points = counts.map((count, index) => {
    const x = (index * width) / (counts.length - 1);
    const y = height - 2 - (count / most) * (height - 4);
    return `${x.toFixed(1)} ${y.toFixed(1)}`;
  });
  const line = `M${points.join("L")}`;
  return { line, area: `${line}L${width} ${height}L0 ${height}Z` };
}

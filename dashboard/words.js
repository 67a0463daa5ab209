// How figures and labels are written. Pure.

/** The tone of a label; a model may have labels that we have not heard of. */
export const toneOf = (label) => (label === "positive" || label === "negative" ? label : "other");

/** 0.98765 as `98.8 %`; never rounded up to a certainty that nobody claimed. */
export const percent = (share) => {
  const rounded = Math.min(Math.round(share * 1000) / 10, share < 1 ? 99.9 : 100);
  return `${rounded.toFixed(1)} %`;
};

/** Milliseconds, as exact as they are worth reading. */
export const milliseconds = (ms) => `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;

/** A rate or a count. */
export const number = (value) =>
  value > 0 && value < 10 ? value.toFixed(1) : Math.round(value).toLocaleString("en");

/** `sentiment@1`. */
export const modelName = (model) => `${model.name}@${model.version}`;

/** Figures of capacity as people say them. */

/** `12 ms`, `2.5 s`, `4 min`, `3 h`, `5 days`. */
export function spanText(seconds: number): string {
  if (seconds < 0.9995) return `${roundText(seconds * 1000)} ms`;
  if (seconds < 120) return `${roundText(seconds)} s`;
  if (seconds < 7200) return `${roundText(seconds / 60)} min`;
  return seconds < 172_800 ? `${roundText(seconds / 3600)} h` : `${roundText(seconds / 86_400)} days`;
}

/** `15 a second`, `3 a minute`, `2 an hour`, `1 a day`. */
export function rateText(perSecond: number): string {
  if (perSecond >= 0.995 || perSecond === 0) return `${roundText(perSecond)} a second`;
  if (perSecond * 60 >= 0.995) return `${roundText(perSecond * 60)} a minute`;
  return perSecond * 3600 >= 0.995
    ? `${roundText(perSecond * 3600)} an hour`
    : `${roundText(perSecond * 86_400)} a day`;
}

/** `83 %`, `less than 0.1 %`. */
export function partText(part: number): string {
  if (part > 0 && part < 0.001) return "less than 0.1 %";
  return `${roundText(part * 100)} %`;
}

/** `1 worker`, `12,000 workers`. */
export function amountText(count: number, noun: string): string {
  return `${roundText(count)} ${count === 1 ? noun : `${noun}s`}`;
}

/** Bytes in decimal units, as the guide counts them: `10 MB`. */
export function bytesText(bytes: number): string {
  if (bytes < 1000) return `${roundText(bytes)} B`;
  if (bytes < 1e6) return `${roundText(bytes / 1e3)} KB`;
  return bytes < 1e9 ? `${roundText(bytes / 1e6)} MB` : `${roundText(bytes / 1e9)} GB`;
}

/** Three digits that mean something, thousands with commas. */
export function roundText(value: number): string {
  if (!Number.isFinite(value)) return "no end of";
  const rounded = Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3));
  const [whole = "0", fraction] = String(Math.abs(rounded)).split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return `${rounded < 0 ? "-" : ""}${grouped}${fraction === undefined ? "" : `.${fraction}`}`;
}

// Percentiles of latencies, and medians with their spread over runs. All in milliseconds or whatever goes in.

export interface Latencies {
  p50: number;
  p99: number;
  max: number;
}

export function summarize(times: readonly number[]): Latencies {
  const sorted = Float64Array.from(times).sort();
  return { p50: pick(sorted, 0.5), p99: pick(sorted, 0.99), max: sorted.at(-1) ?? Number.NaN };
}

/** Nearest-rank percentile; `sorted` ascending. */
function pick(sorted: Float64Array, share: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

export interface Spread {
  median: number;
  min: number;
  max: number;
}

export function toSpread(values: readonly number[]): Spread {
  const sorted = Float64Array.from(values).sort();
  const middle = sorted.length / 2;
  const median =
    sorted.length % 2 === 1
      ? (sorted[Math.floor(middle)] ?? Number.NaN)
      : ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2;
  return { median, min: sorted[0] ?? Number.NaN, max: sorted.at(-1) ?? Number.NaN };
}

/** Columns as kubectl aligns them: upper-case headers, three spaces between. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [header, ...rows];
  const widths = header.map((_, column) => Math.max(...all.map((row) => (row[column] ?? "").length)));
  return all
    .map((row) =>
      row
        .map((cell, column) => (column === header.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)))
        .join("   ")
        .trimEnd(),
    )
    .join("\n");
}

/** A duration as kubectl shows ages (apimachinery pkg/util/duration): two units at most, coarser as it grows. */
export function age(sinceMs: number, nowMs: number = Date.now()): string {
  const seconds = Math.trunc((nowMs - sinceMs) / 1000);
  // Clocks may differ by a second; more than that, or no time at all, is no age.
  if (!(seconds >= -1)) return "<invalid>";
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const days = Math.floor(hours / 24);
  const years = Math.floor(days / 365);
  const two = (first: number, unit: string, rest: number, restUnit: string) =>
    rest === 0 ? `${first}${unit}` : `${first}${unit}${rest}${restUnit}`;
  if (seconds < 120) return `${Math.max(0, seconds)}s`;
  if (minutes < 10) return two(minutes, "m", seconds % 60, "s");
  if (hours < 3) return `${minutes}m`;
  if (hours < 8) return two(hours, "h", minutes % 60, "m");
  if (hours < 48) return `${hours}h`;
  if (days < 8) return two(days, "d", hours % 24, "h");
  if (years < 2) return `${days}d`;
  return years < 8 ? two(years, "y", days % 365, "d") : `${years}y`;
}

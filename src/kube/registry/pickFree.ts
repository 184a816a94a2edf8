/** The choice of free addresses and ports: low ones are left to those who choose by hand, as long as others are free. */

/** A free number, at random above the band, or the lowest in it; undefined when there is none. */
export function pickFree(
  min: number,
  max: number,
  band: number,
  random: () => number,
  isFree: (value: number) => boolean,
): number | undefined {
  const low = min + band;
  const count = max - low + 1;
  const start = Math.floor(random() * count);
  for (let step = 0; step < count; step++) {
    const value = low + ((start + step) % count);
    if (isFree(value)) return value;
  }
  for (let value = min; value < low; value++) if (isFree(value)) return value;
  return undefined;
}

/** KEP-3070: 1/16 of the addresses, between 16 and 256; none in small ranges. */
export function ipBand(size: number): number {
  return size < 64 ? 0 : Math.min(Math.max(16, size / 16), 256);
}

/** KEP-3668: 1/32 of the ports, between 16 and 128; none in small ranges. */
export function portBand(size: number): number {
  return size < 32 ? 0 : Math.min(Math.max(16, Math.floor(size / 32)), 128);
}

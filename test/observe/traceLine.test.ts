import { stripVTControlCharacters } from "node:util";
import { describe, expect, it } from "vitest";
import { formatObservation, observationFromJson, observationToJson } from "../../src/observe/index.js";
import { all, nameOf, synAtFirstNode } from "./samples.js";

const lines = (format: (observation: (typeof all)[number]) => string) => `${all.map(format).join("\n")}\n`;

describe("trace lines", () => {
  it("read as the golden text", async () => {
    await expect(lines((one) => formatObservation(one))).toMatchFileSnapshot("golden/trace.txt");
  });

  it("read as the golden text with names and stages", async () => {
    const wide = lines((one) => formatObservation(one, { wide: true, nameOf }));
    await expect(wide).toMatchFileSnapshot("golden/trace-wide.txt");
  });

  it("have the same text under their colours", () => {
    for (const one of all) {
      const coloured = formatObservation(one, { colour: true, wide: true });
      expect(coloured).toContain("\u001b[");
      expect(stripVTControlCharacters(coloured)).toBe(formatObservation(one, { wide: true }));
    }
  });

  it("give a packet the same colour on each node", () => {
    const colourOf = (index: number) =>
      /\S+1a2b3c4d\S+/.exec(formatObservation(all[index], { colour: true }))?.[0];
    expect(colourOf(0)).toBeDefined();
    expect(colourOf(0)).toBe(colourOf(1));
  });

  it("carry microseconds over into the second", () => {
    const at = (timeMs: number) => formatObservation({ ...synAtFirstNode, timeMs }).split(" ")[0];
    expect([at(0), at(0.0015), at(999.9999), at(86_399_999.5)]).toEqual([
      "00:00:00.000000",
      "00:00:00.000002",
      "00:00:01.000000",
      "23:59:59.999500",
    ]);
  });
});

describe("trace JSON", () => {
  it("reads as the golden text", async () => {
    await expect(lines(observationToJson)).toMatchFileSnapshot("golden/trace.jsonl");
  });

  it("is one line per observation and survives the way back", () => {
    for (const one of all) {
      const text = observationToJson(one);
      expect(text).not.toContain("\n");
      expect(observationFromJson(text)).toEqual(one);
    }
  });

  it.each([
    ["no JSON", "{"],
    ["another type", "[]"],
    ["a missing field", "{}"],
    ["a malformed address", observationToJson(synAtFirstNode).replace('"10.0.0.1"', '"10.0.0.01"')],
    ["a port out of range", observationToJson(synAtFirstNode).replace("51234", "70000")],
    ["an unknown protocol", observationToJson(synAtFirstNode).replace('"tcp"', '"carrier"')],
    [
      "a protocol that is a property of every object",
      observationToJson(synAtFirstNode).replace('"tcp"', '"toString"'),
    ],
    ["a malformed packet id", observationToJson(synAtFirstNode).replace("1a2b3c4d", "1a2b")],
  ])("is refused with %s", (_what, text) => {
    expect(observationFromJson(text)).toBeUndefined();
  });
});

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type PortGroup, place as placeWith } from "../../src/control/placement.js";
import type { Endpoint, EndpointPort, EndpointSlice } from "../../src/kube/index.js";

const HTTP: EndpointPort[] = [{ name: "http", port: 80, protocol: "TCP" }];
const ALT: EndpointPort[] = [{ name: "http", port: 81, protocol: "TCP" }];

const endpoint = (id: number, ready = true): Endpoint => ({
  addresses: [`10.0.${id >> 8}.${id & 255}`],
  conditions: { ready },
  targetRef: { uid: `pod-${id}` },
});
const range = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, index) => endpoint(from + index));

const MAX_ENDPOINTS = 100;
const place = (groups: readonly PortGroup[], existing: readonly EndpointSlice[]) =>
  placeWith(groups, existing, { maxEndpoints: MAX_ENDPOINTS, keepOne: true });

let serial = 0;
const slice = (endpoints: Endpoint[], ports = HTTP): EndpointSlice => ({
  metadata: { name: `s-${serial++}` },
  addressType: "IPv4",
  endpoints,
  ports,
});

describe("placement", () => {
  it("fills slices of at most 100", () => {
    const { create, update, remove } = place([{ ports: HTTP, endpoints: range(0, 250) }], []);
    expect(create.map(({ endpoints }) => endpoints.length)).toEqual([100, 100, 50]);
    expect([update, remove]).toEqual([[], []]);
  });

  it("writes nothing when nothing changed, in whatever order endpoints come", () => {
    const existing = [slice(range(0, 100)), slice(range(100, 120))];
    const groups = [{ ports: HTTP, endpoints: range(0, 120).toReversed() }];
    expect(place(groups, existing)).toEqual({ create: [], update: [], remove: [] });
  });

  it("rewrites only the slice of an endpoint whose condition changed", () => {
    const existing = [slice(range(0, 100)), slice(range(100, 120))];
    const endpoints = range(0, 120).map((one, id) => (id === 110 ? endpoint(110, false) : one));
    const { update, create, remove } = place([{ ports: HTTP, endpoints }], existing);
    expect(update.map(({ metadata }) => metadata?.name)).toEqual([existing[1]?.metadata?.name]);
    expect([create, remove]).toEqual([[], []]);
  });

  it("puts new endpoints where something changes anyway", () => {
    const existing = [slice(range(0, 50)), slice(range(50, 140))];
    // 7 of the first slice is gone, 200 is new.
    const endpoints = [...range(0, 7), ...range(8, 140), endpoint(200)];
    const { update } = place([{ ports: HTTP, endpoints }], existing);
    expect(update.map(({ metadata }) => metadata?.name)).toEqual([existing[0]?.metadata?.name]);
    expect(update[0]?.endpoints.length).toBe(50);
  });

  it("removes a slice that became empty, but keeps the last one", () => {
    const existing = [slice(range(0, 2)), slice(range(2, 4))];
    const one = place([{ ports: HTTP, endpoints: range(0, 2) }], existing);
    expect([one.update, one.remove]).toEqual([[], [existing[1]]]);
    const none = place([], existing);
    expect(none.remove).toEqual([existing[1]]);
    expect(none.update).toEqual([{ ...existing[0], endpoints: [], ports: [] }]);
    expect(place([], [slice([], [])])).toEqual({ create: [], update: [], remove: [] });
    expect(place([], []).create).toEqual([{ ports: [], endpoints: [] }]);
  });

  it("keeps endpoints with different ports apart", () => {
    const groups = [
      { ports: HTTP, endpoints: range(0, 3) },
      { ports: ALT, endpoints: range(3, 5) },
    ];
    expect(
      place(groups, []).create.map(({ ports, endpoints }) => [ports[0]?.port, endpoints.length]),
    ).toEqual([
      [80, 3],
      [81, 2],
    ]);
  });

  it("has every endpoint once, in slices that are not too long, after any change", () => {
    const ids = fc.uniqueArray(fc.integer({ min: 0, max: 400 }), { maxLength: 350 });
    fc.assert(
      fc.property(fc.array(ids, { minLength: 1, maxLength: 4 }), (steps) => {
        let slices: EndpointSlice[] = [];
        for (const step of steps) {
          const groups =
            step.length === 0 ? [] : [{ ports: HTTP, endpoints: step.map((id) => endpoint(id)) }];
          const { create, update, remove } = place(groups, slices);
          const kept = slices.filter((one) => !remove.includes(one));
          slices = kept.map(
            (one) => update.find(({ metadata }) => metadata?.name === one.metadata?.name) ?? one,
          );
          slices.push(...create.map(({ endpoints, ports }) => slice(endpoints, ports)));
          const placed = slices.flatMap(({ endpoints }) => endpoints.map(({ targetRef }) => targetRef?.uid));
          expect(placed.sort()).toEqual(step.map((id) => `pod-${id}`).sort());
          for (const { endpoints } of slices) expect(endpoints.length).toBeLessThanOrEqual(MAX_ENDPOINTS);
        }
      }),
      { numRuns: 40 },
    );
  });
});

/**
 * Seeded random clusters: Services, endpoints, pods, links, leases, node processes and connections come and go, and the rules
 * hold throughout (random/rules.ts; invariants.ts for every frame). A seed that breaks is played again until a short run is
 * left that breaks as well. `PODWIRE_SIM_SEED=7` plays that seed alone.
 */
import { describe, expect, it } from "vitest";
import { type Action, randomActions } from "./random/actions.js";
import { type Play, shrink } from "./random/shrink.js";
import { type Families, World, type WorldOptions } from "./random/world.js";

const STEPS = 10_000;
/** As long as such a run may take where others run beside it. */
const LONG_MS = 240_000;
const SETTLE_EVERY = 2500;
const SEEDS = process.env.PODWIRE_SIM_SEED === undefined ? [1, 2] : [Number(process.env.PODWIRE_SIM_SEED)];

/** Plays all actions on a new cluster; `last` sees it at the end. */
function player(seed: number, options: WorldOptions, last: (world: World) => void): Play {
  return (actions) => {
    let steps = 0;
    try {
      const world = new World(seed, options);
      for (const action of actions) {
        steps++;
        world.play(action);
        if (steps % SETTLE_EVERY === 0) world.settle();
      }
      world.settle();
      world.drain();
      last(world);
      return undefined;
    } catch (error) {
      return { error: error as Error, steps };
    }
  };
}

/** @throws Error with the seed, the reason and the shortest run found that breaks */
function playSeed(seed: number, steps: number, options: WorldOptions = {}): World[] {
  const worlds: World[] = [];
  const actions = randomActions(seed, steps);
  const broken = player(seed, options, (world) => worlds.push(world))(actions);
  if (broken === undefined) return worlds;
  const play = player(seed, options, () => undefined);
  const short = shrink(actions.slice(0, broken.steps), play);
  const reason = play(short)?.error.message;
  throw new Error(
    `seed ${seed}, ${JSON.stringify(options)}, breaks after ${broken.steps} of ${steps} steps: ${broken.error.message}\n` +
      `${short.length} of them are enough for: ${reason}\n${short.map(actionText).join("\n")}\n` +
      `Again: PODWIRE_SIM_SEED=${seed} npx vitest run --project sim test/sim/random.test.ts\n${broken.error.stack}`,
  );
}

function actionText({ kind, dice }: Action): string {
  return `  ${kind} ${dice.map((die) => die.toFixed(3)).join(" ")}`;
}

describe("random clusters", () => {
  const runs = SEEDS.flatMap((seed) =>
    (["IPv4", "IPv6", "both"] as const).map((families): [number, Families] => [seed, families]),
  );
  it.each(runs)("seed %i, 10,000 steps, %s", { timeout: LONG_MS }, (seed, families) => {
    const [world] = playSeed(seed, STEPS, { families });
    // Most of it worked: the rules were about something.
    expect(world.answered).toBeGreaterThan(STEPS / 20);
    expect(world.rules.replies).toBeGreaterThan(STEPS / 20);
    expect(world.cluster.nodes.reduce((sum, node) => sum + node.framesSent, 0)).toBeGreaterThan(STEPS * 2);
  });

  it("with room for 40 connections: forgets, and holds everything else", () => {
    const [world] = playSeed(3, 2000, { conntrackMax: 40 });
    expect(world.rules.fullest).toBe(40);
  });
});

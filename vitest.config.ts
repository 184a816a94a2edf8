import { defineConfig } from "vitest/config";

/** Projects by what a test needs: nothing, virtual time, root, or other people's programs. */
export default defineConfig({
  test: {
    // One core fewer is the default, which on two cores is one.
    maxWorkers: "100%",
    projects: [
      {
        test: {
          name: "unit",
          testTimeout: 30_000,
          include: ["test/**/*.test.ts"],
          exclude: ["test/sim/**", "test/root/**", "test/interop/**", "test/bench/**"],
        },
      },
      { test: { name: "sim", include: ["test/sim/**/*.test.ts"], testTimeout: 60_000 } },
      {
        test: {
          name: "root",
          include: ["test/root/**/*.test.ts", "src/tun-tap-ts/test/**/*.test.ts"],
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: "interop",
          include: ["test/interop/**/*.test.ts"],
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});

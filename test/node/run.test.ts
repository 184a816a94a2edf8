/** Running system programs: what they print, and what is said when they fail. */
import { expect, it } from "vitest";
import { CommandError, run } from "../../src/node/run.js";

it("returns what the program printed, given its input", async () => {
  expect(await run("cat", ["-"], "a\nb")).toBe("a\nb");
});

it("shows no word to a shell", async () => {
  expect(await run("printf", ["%s|", "$(id)", "`id`", "a b; id"])).toBe("$(id)|`id`|a b; id|");
});

it("fails with the program's own words and exit code, and with its name", async () => {
  const failed = await run("sh", ["-c", "echo no such thing >&2; exit 4"]).catch(
    (error: CommandError) => error,
  );
  expect(failed).toBeInstanceOf(CommandError);
  expect(failed).toMatchObject({ exitCode: 4, stderr: "no such thing\n" });
  expect((failed as CommandError).message).toMatch(/^sh -c .*: no such thing$/s);
});

it("says what to do about a program that is not there", async () => {
  await expect(run("podwire-no-such-program", [])).rejects.toThrow(
    "podwire-no-such-program: not found; install it first",
  );
});

it("does not fail on input that is not read", async () => {
  expect(await run("true", [], "x".repeat(1 << 20))).toBe("");
});

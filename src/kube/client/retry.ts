/** Read, change, write again when somebody else wrote in between (client-go util/retry). */
import { StatusError } from "../types.js";

const TRIES = 6;
const FIRST_PAUSE_MS = 10;

/**
 * Calls `attempt`, which reads and writes, until it does not fail with a Conflict or AlreadyExists.
 * @throws what the last attempt threw
 */
export async function retryOnConflict<T>(attempt: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await attempt();
    } catch (error) {
      const lost = error instanceof StatusError && error.status.code === 409;
      if (!lost || tries === TRIES) throw error;
      const pauseMs = FIRST_PAUSE_MS * 2 ** (tries - 1) * (0.5 + Math.random());
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }
}

import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { messageOf } from '../../util/report-event.js';

/** A file system that does not respond for this time, such as NFS without its server, cannot be used. */
const TIMEOUT_MS = 2000;

/**
 * Resolves to why the directory of a store cannot be used, or to `undefined` if it can. Never rejects. Calls during a check share
 * its result, so that a file system that hangs does not occupy all threads of the pool.
 */
export function createStoreProbe(dir: string, timeoutMs = TIMEOUT_MS): () => Promise<string | undefined> {
  let checking: Promise<string | undefined> | undefined;
  return () => {
    checking ??= access(dir, constants.R_OK | constants.X_OK)
      .then(() => undefined, messageOf)
      .finally(() => {
        checking = undefined;
      });
    const timeout = new AbortController();
    const late = setTimeout(timeoutMs, `no response within ${timeoutMs} ms`, { signal: timeout.signal, ref: false });
    return Promise.race([checking, late.catch(() => undefined)]).finally(() => timeout.abort());
  };
}

import { formatWithOptions } from 'node:util';
import type { ExecutionContext } from 'ava';
import { logAccess } from '../../src/access/log.js';
import type { AccessRequest } from '../../src/access/policy.js';

/** A request that shows `token`, or nothing. */
export function asking(token: string | undefined, protocol = 'nx', namespace?: string): AccessRequest {
  return { credentials: token === undefined ? undefined : { token, user: undefined }, protocol, namespace };
}

/** The lines of `DEBUG=hotblob:access` from now on. There is one log: tests that use it are serial. */
export function logged(t: ExecutionContext): string[] {
  const lines: string[] = [];
  const { enabled, log } = logAccess;
  logAccess.enabled = true;
  logAccess.log = (...values: unknown[]) => lines.push(formatWithOptions({ colors: false }, ...values));
  t.teardown(() => {
    logAccess.enabled = enabled;
    logAccess.log = log;
  });
  return lines;
}

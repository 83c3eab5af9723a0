import { formatWithOptions } from 'node:util';
import type { ExecutionContext } from 'ava';
import { logAccess } from '../../src/access/log.js';
import type { AccessRequest } from '../../src/access/policy.js';

/** Returns a request with `token`, or without credentials. */
export function accessRequest(token: string | undefined, protocol = 'nx', namespace?: string): AccessRequest {
  return { credentials: token === undefined ? undefined : { token, user: undefined }, protocol, namespace };
}

/** Captures the lines of `DEBUG=hotblob:access`. The log is global, so tests that call this must be serial. */
export function captureLog(t: ExecutionContext): string[] {
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

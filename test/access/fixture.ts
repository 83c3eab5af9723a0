import { formatWithOptions } from 'node:util';
import type { ExecutionContext } from 'ava';
import debug from 'debug';
import type { AccessRequest } from '../../src/access/policy.js';

/** Returns a request with `token`, or without credentials. */
export function accessRequest(token: string | undefined, protocol = 'nx', namespace?: string): AccessRequest {
  const credentials = token === undefined ? undefined : { token, user: undefined };
  return { credentials, protocol, namespace, operation: 'read', method: 'GET', headers: {} };
}

/** Captures the lines of `DEBUG=hotblob:access`. The log is global, so tests that call this must be serial. */
export function captureLog(t: ExecutionContext): string[] {
  const lines: string[] = [];
  const { log } = debug;
  debug.enable('hotblob:access');
  debug.log = (...values: unknown[]) => lines.push(formatWithOptions({ colors: false }, ...values));
  t.teardown(() => {
    debug.disable();
    debug.log = log;
  });
  return lines;
}

import { once } from 'node:events';
import http2, { type ClientHttp2Session } from 'node:http2';
import type { ExecutionContext } from 'ava';
import fc from 'fast-check';
import { afterHttp2Read } from '../../src/util/after-http2-read.js';
import { RawConnection } from './raw.js';
import type { RunningServer } from './servers.js';

/** Request as a client can write it: each character is one byte. */
interface HostileRequest {
  readonly method: string;
  readonly target: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** Content of files that no hostile request may receive. */
export const SECRET = 'content of a secret file';

const LONG = 'a'.repeat(10_000);
const NAMES = [
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  '.hotblob',
  '.',
  '..',
  'some',
  'key',
  'secret',
  '',
];
const ENCODED = [
  '%',
  '%f',
  '%ff',
  '%00',
  '%0d%0a',
  '%2e%2e%2f',
  '%2E%2E',
  '..%2F..%2Fsecret',
  '%2f',
  '%5c..',
  '%25',
  '%c0%af',
];
const BYTES = [
  '\x01',
  '\x7f',
  '\x80',
  '\xff',
  'ä',
  '\\..',
  ' ',
  '\t',
  ';',
  '?',
  '?%',
  '#',
  '&',
  '=',
  ':',
  '@',
  '|',
  '"',
  '<x>',
];
const segment = fc.constantFrom(...NAMES, ...ENCODED, ...BYTES, LONG);
const path = fc.array(
  fc.array(segment, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('')),
  { maxLength: 5 },
);

/** Targets that have a form of their own (RFC 9112, section 3.2) or begin below a mount path of the documentation. */
const PREFIXES = [
  '/',
  '/cache/',
  '/cache/team/',
  '/files/',
  '/lib/',
  '/artifacts/',
  '//',
  '/cache//',
  'http://a/',
  'http://',
  '',
];
const TARGETS = [
  ...[
    '/',
    '//',
    '///',
    '/.',
    '/..',
    '*',
    '/?',
    '/%',
    '/%ff',
    '/%00',
    '/cache',
    '/cache/',
    '/cache//',
    '/cache/%',
    '/cache/%ff/%ff',
  ],
  ...[
    '/cache/a/%00',
    '/cache/..%2fsecret',
    '/cache/mine/..%2F..%2Fsecret',
    '/artifacts/%',
    '/artifacts/..%2fsecret',
    '/files/%00',
  ],
  ...[
    '/files/..%2fsecret',
    'http://a/cache/key',
    'http://[',
    'http://a:99999/',
    'a',
    'a:80',
    `/${LONG}`,
    `/cache/${LONG}/${LONG.slice(0, 3000)}`,
  ],
];
const target = fc.oneof(
  { weight: 1, arbitrary: fc.constantFrom(...TARGETS) },
  {
    weight: 2,
    arbitrary: fc.tuple(fc.constantFrom(...PREFIXES), path).map(([prefix, parts]) => prefix + parts.join('/')),
  },
);

const HEADERS: Readonly<Record<string, readonly string[]>> = {
  authorization: [
    'Bearer',
    'Bearer \xff',
    'Basic',
    'Basic %%%',
    'Basic YQ',
    'Basic Og==',
    'Digest a',
    ` Bearer ${LONG}`,
  ],
  range: [
    'bytes=',
    'bytes=-',
    'bytes=-0',
    'bytes=9-1',
    'bytes=99999999999999999999-',
    `bytes=${'0-0,'.repeat(500)}`,
    '\xff',
  ],
  'if-range': ['"', 'W/"a"', 'Thu', '\x80'],
  'if-none-match': ['*', '"', 'W/', ',,,', `${'"a",'.repeat(500)}`, '\xff'],
  'if-match': ['*', '', '"a', '\xfe'],
  'if-modified-since': ['never', 'Thu, 99 Xxx 9999 99:99:99 GMT', '-1'],
  'if-unmodified-since': ['0', 'Thu, 01 Jan 1970 00:00:00 GMT'],
  'content-digest': ['sha-256', 'sha-256=::', 'constructor=:YQ==:', 'sha-256=:%:, sha-512=:YQ==:', '\xff'],
  'content-type': ['', 'a', 'text/plain; charset=\xff', 'multipart/form-data', 'application/json'],
  'content-encoding': ['gzip, gzip, \xff', 'constructor'],
  'content-length': ['1', '99999999999999999999', '-1', '1e3'],
  'transfer-encoding': ['chunked', 'gzip'],
  cookie: ['__proto__=a; %ff=%', ';;;'],
  expect: ['100-continue', 'constructor'],
  'x-forwarded-for': ['\xff', ',,'],
  'x-artifact-duration': ['-1', 'NaN'],
  origin: ['null', 'http://%'],
  __proto__: ['a'],
  constructor: ['a'],
};
const fields = Object.entries(HEADERS).flatMap(([name, values]) => values.map((value) => [name, value] as const));

const request: fc.Arbitrary<HostileRequest> = fc.record({
  method: fc.constantFrom('GET', 'GET', 'GET', 'HEAD', 'PUT', 'POST', 'DELETE', 'OPTIONS', 'PROPFIND', 'TRACE'),
  target,
  headers: fc.array(fc.constantFrom(...fields), { maxLength: 3 }),
});

const FIXED: readonly HostileRequest[] = TARGETS.map((each) => ({ method: 'GET', target: each, headers: [] }));

/**
 * Sends hostile requests to a server, one after the other. Each must be answered with a status below 500, or be refused without a
 * response. No response may contain {@link SECRET}.
 *
 * @param runs number of generated requests, in addition to fixed ones
 * @param headers headers of each request, such as credentials
 */
export async function assertEndures(
  t: ExecutionContext,
  server: RunningServer,
  runs: number,
  headers: HostileRequest['headers'] = [],
): Promise<void> {
  const client = server.version === 2 ? http2Client(t, server) : http1Client(t, server);
  const property = fc.asyncProperty(request, async (each) => {
    const { status, text } = await client({ ...each, headers: [...headers, ...each.headers] });
    if (status >= 500 && !isOfHost(each, status)) throw new Error(`status ${status}: ${text.slice(0, 500)}`);
    if (text.includes(SECRET)) throw new Error(`received the secret: ${text.slice(0, 500)}`);
  });
  await t.notThrowsAsync(
    fc.assert(property, {
      numRuns: FIXED.length + runs,
      examples: FIXED.map((each) => [each]),
      endOnFailure: true,
      includeErrorInReport: true,
    }),
  );
}

/** Whether a host answers like this before its routes: 501 and 505 refuse, Koa answers 500 to `http://[`, and tRPC to TRACE. */
function isOfHost({ method, target }: HostileRequest, status: number): boolean {
  return status === 501 || status === 505 || method === 'TRACE' || target.startsWith('http://');
}

type Client = (request: HostileRequest) => Promise<{ readonly status: number; readonly text: string }>;

function http1Client(t: ExecutionContext, server: RunningServer): Client {
  return async ({ method, target, headers }) => {
    const connection = await RawConnection.open(t, server);
    const lines = [`${method} ${target} HTTP/1.1`, 'host: a', 'connection: close'];
    connection.write(`${[...lines, ...headers.map((field) => field.join(': '))].join('\r\n')}\r\n\r\n`);
    // A request that announces a body has ended without one.
    connection.end();
    const text = await connection.closed();
    return { status: Number(/^HTTP\/1\.1 (?:1\d\d [\s\S]*?\r\n\r\nHTTP\/1\.1 )?(\d{3})/.exec(text)?.[1] ?? 0), text };
  };
}

function http2Client(t: ExecutionContext, server: RunningServer): Client {
  let session: ClientHttp2Session | undefined;
  t.teardown(() => afterHttp2Read(() => session?.destroy()));
  return async ({ method, target, headers }) => {
    if (session === undefined || session.closed || session.destroyed) {
      session = http2.connect(`http://127.0.0.1:${server.port}`).on('error', () => {});
      await once(session, 'connect');
    }
    try {
      const fields = Object.fromEntries(headers.filter(([name]) => !CONNECTION_FIELDS.has(name)));
      const stream = session.request({ ...fields, ':method': method, ':path': target }, { endStream: true });
      let status = 0;
      stream.on('response', (received) => {
        status = Number(received[':status']);
      });
      const parts: Buffer[] = await stream.toArray();
      return { status, text: Buffer.concat(parts).toString('latin1') };
    } catch (error) {
      return { status: 0, text: String(error) };
    }
  };
}

/** Node does not send these over HTTP/2 (RFC 9113, section 8.2.2). */
const CONNECTION_FIELDS = new Set(['transfer-encoding', 'expect', 'content-length', '__proto__']);

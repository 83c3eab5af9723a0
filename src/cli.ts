#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { parseArgs } from 'node:util';
import { examine } from './doctor/doctor.js';
import { describe } from './doctor/text.js';
import { HotblobError } from './errors.js';
import { type ServeOptions, serve } from './serve.js';
import { isProtocolName, PROTOCOL_NAMES, type ProtocolName } from './serve-protocols.js';
import type { StoreKind } from './serve-store.js';
import { verifySegments } from './stores/segments/verify.js';

const HELP = `hotblob: serves a build cache straight from the page cache

  hotblob serve [options]
  hotblob verify DIR   compares what is in segments with its checksums
  hotblob doctor [--json] [DIR...]   says what is at work here, for each DIR too, and what would improve it

  --dir DIR         where the artifacts are; created when absent (./artifacts)
  --store KIND      directory: a file for each, at /<path below DIR>; segments: a few large files (what is there; in a new
                    DIR segments, where lmdb is installed)
  --upstream URL    another cache, asked for what is not here; uploads go to both. A URL holds user and password, or
                    HOTBLOB_UPSTREAM_TOKEN a bearer token
  --protocol NAMES  what build tools speak, with commas between: ${PROTOCOL_NAMES.join(', ')} (all of them)
  --tokens FILE     who may read and write: lines of 'read TOKEN' or 'write TOKEN', perhaps with protocols=a,b and
                    namespaces=c,d; looked at again when it changes
  --anonymous LEVEL what everybody may do beside them: none, read or write (none); with --tokens only
  --port PORT       0 for any that is free (8080)
  --host HOST       (127.0.0.1)
  --writable        take uploads from beyond this machine too
  --immutable       files below DIR are never truncated or rewritten in place: map them
  --verify-reads    compare each artifact with its checksum before it is sent; of segments only
  --max-size BYTES  evict the least recently used above this; K, M, G, T and KiB ... TiB are understood
  --tls-cert FILE   with --tls-key FILE: https, HTTP/1.1 and HTTP/2
  --help, --version
`;

const OPTIONS = {
  dir: { type: 'string' },
  port: { type: 'string' },
  host: { type: 'string' },
  store: { type: 'string' },
  upstream: { type: 'string' },
  protocol: { type: 'string' },
  tokens: { type: 'string' },
  anonymous: { type: 'string' },
  writable: { type: 'boolean' },
  immutable: { type: 'boolean' },
  'verify-reads': { type: 'boolean' },
  'max-size': { type: 'string' },
  'tls-cert': { type: 'string' },
  'tls-key': { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean' },
  version: { type: 'boolean' },
} as const;

const EXIT_USAGE = 2;

async function main(args: string[]): Promise<void> {
  const parsed = parse(args);
  if (parsed.values.help) return void process.stdout.write(HELP);
  if (parsed.values.version) return void process.stdout.write(`${version()}\n`);
  const [command, dir, ...rest] = parsed.positionals;
  if (command === 'verify' && dir !== undefined && rest.length === 0) return verify(dir);
  if (command === 'doctor') return doctor(parsed.positionals.slice(1), parsed.values.json === true);
  if (command !== 'serve' || dir !== undefined)
    throw usage(
      `expected the command 'serve' or 'doctor', or 'verify' and a directory, found '${parsed.positionals.join(' ')}'`,
    );
  const server = await serve(serveOptions(parsed.values));
  console.log(server.description);

  let isStopping = false;
  const stop = () => {
    // Who asks twice does not want to wait.
    if (isStopping) process.exit(1);
    isStopping = true;
    server.close().then(
      () => process.exit(0),
      (error: unknown) => fail(error),
    );
  };
  process.on('SIGINT', stop).on('SIGTERM', stop);
}

/** Prints what is hurt; the exit code is then 1. */
async function verify(dir: string): Promise<void> {
  const findings = verifySegments(dir);
  for (;;) {
    const next = await findings.next();
    if (next.done) {
      console.log(
        `${next.value.artifacts} artifacts with ${next.value.bytes} bytes, ${process.exitCode ? 'not all' : 'all'} whole`,
      );
      return;
    }
    console.log(next.value.message);
    process.exitCode = 1;
  }
}

/** Prints a diagnosis; the exit code is 1 where one of the directories cannot be served. */
async function doctor(dirs: string[], isJson: boolean): Promise<void> {
  const diagnosis = await examine(version(), dirs);
  process.stdout.write(isJson ? `${JSON.stringify(diagnosis, null, 2)}\n` : describe(diagnosis));
  if (diagnosis.directories.some(({ problem }) => problem !== null)) process.exitCode = 1;
}

function parse(args: string[]) {
  try {
    return parseArgs({ args, options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw usage(error instanceof Error ? error.message : String(error));
  }
}

type Values = ReturnType<typeof parse>['values'];

function serveOptions(values: Values): ServeOptions {
  const port = Number(values.port ?? 8080);
  if (!Number.isInteger(port) || port < 0 || port > 65535)
    throw usage(`--port: expected 0 to 65535, found '${values.port}'`);
  const host = values.host ?? '127.0.0.1';
  const { 'tls-cert': cert, 'tls-key': key } = values;
  if ((cert === undefined) !== (key === undefined)) throw usage('--tls-cert and --tls-key go together');
  return {
    version: version(),
    kind: values.store === undefined ? undefined : storeKind(values.store),
    dir: values.dir ?? './artifacts',
    port,
    host,
    // With tokens it is they who say who may write.
    writable: values.writable === true || values.tokens !== undefined || isLoopback(host),
    access: tokens(values),
    protocols: values.protocol === undefined ? PROTOCOL_NAMES : protocolNames(values.protocol),
    immutable: values.immutable,
    verifyReads: values['verify-reads'],
    maxBytes: values['max-size'] === undefined ? undefined : bytes(values['max-size']),
    upstream:
      values.upstream === undefined
        ? undefined
        : { url: values.upstream, token: process.env['HOTBLOB_UPSTREAM_TOKEN'] || undefined },
    tls: cert === undefined || key === undefined ? undefined : { cert: readFileSync(cert), key: readFileSync(key) },
  };
}

function protocolNames(text: string): ProtocolName[] {
  return text.split(',').map((name) => {
    if (isProtocolName(name)) return name;
    throw usage(`--protocol: expected some of ${PROTOCOL_NAMES.join(', ')}, found '${name}'`);
  });
}

function tokens({ tokens: file, anonymous }: Values): ServeOptions['access'] {
  if (file === undefined) {
    if (anonymous !== undefined) throw usage('--anonymous goes with --tokens');
    return undefined;
  }
  if (anonymous === undefined || anonymous === 'none' || anonymous === 'read' || anonymous === 'write') {
    return { file, anonymous };
  }
  throw usage(`--anonymous: expected none, read or write, found '${anonymous}'`);
}

function storeKind(text: string): StoreKind {
  if (text === 'directory' || text === 'segments') return text;
  throw usage(`--store: expected directory or segments, found '${text}'`);
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

function bytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?$/i.exec(text);
  if (match === null) throw usage(`--max-size: expected a number of bytes such as 50GiB, found '${text}'`);
  const power = ' KMGT'.indexOf((match[2] || ' ').toUpperCase());
  return Math.floor(Number(match[1]) * 1024 ** power);
}

function version(): string {
  // shipped with every package, one level above the built file
  const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };
  return manifest.version;
}

class UsageError extends Error {}

function usage(message: string): UsageError {
  return new UsageError(`${message}\n\n${HELP}`);
}

function fail(error: unknown): void {
  const isExpected =
    error instanceof UsageError || error instanceof HotblobError || (error instanceof Error && 'code' in error);
  console.error(isExpected ? `hotblob: ${(error as Error).message}` : error); // an Error, as just seen
  process.exit(error instanceof UsageError ? EXIT_USAGE : 1);
}

main(process.argv.slice(2)).catch(fail);

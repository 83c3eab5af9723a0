import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { type Command, maxSize, parse, UsageError } from '../command.js';
import type { StoreKind } from './open-store.js';
import { isProtocolName, PROTOCOL_NAMES, type ProtocolName } from './protocol-names.js';
import { type ServeOptions, serve } from './serve.js';

const OPTIONS = {
  dir: { type: 'string' },
  store: { type: 'string' },
  upstream: { type: 'string' },
  protocol: { type: 'string' },
  tokens: { type: 'string' },
  anonymous: { type: 'string' },
  port: { type: 'string' },
  host: { type: 'string' },
  writable: { type: 'boolean' },
  immutable: { type: 'boolean' },
  'verify-reads': { type: 'boolean' },
  'max-size': { type: 'string' },
  'tls-cert': { type: 'string' },
  'tls-key': { type: 'string' },
} as const;

type Values = ReturnType<typeof parse<typeof OPTIONS>>['values'];

const HELP = `hotblob serve [options]

Serves a store over HTTP/1.1 and HTTP/2 on one port, until SIGINT or SIGTERM: then what is in flight may complete for 30
seconds. The same signal a second time ends it at once.

  --dir DIR         where the artifacts are; created when absent (./artifacts)
  --store KIND      directory: a file for each, at /<path below DIR>; segments: a few large files (what is there; in a new
                    DIR segments, where lmdb is installed)
  --upstream URL    another cache, asked for what is not here; uploads go to both. A URL holds user and password, or
                    HOTBLOB_UPSTREAM_TOKEN a bearer token
  --protocol NAMES  what build tools speak, with commas between (all of them):
                    ${PROTOCOL_NAMES.join(', ')}
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

Exit code: 0 when it was asked to stop, 1 when it cannot start, 2 for arguments that it does not take.
`;

/** `hotblob serve`, of this version of the package. */
export function serveCommand(version: string): Command {
  return {
    name: 'serve',
    summary: 'serves a build cache straight from the page cache',
    help: HELP,
    async run(args) {
      const { values, positionals } = parse(args, OPTIONS);
      if (positionals.length > 0) throw new UsageError(`expected options alone, received '${positionals.join(' ')}'`);
      const server = await serve(serveOptions(version, values));
      process.stdout.write(`${server.description}\n`);

      let isStopping = false;
      const stop = () => {
        // Who asks twice does not want to wait.
        if (isStopping) process.exit(1);
        isStopping = true;
        server.close().then(
          () => process.exit(0),
          (error: unknown) => {
            process.stderr.write(`hotblob: ${error}\n`);
            process.exit(1);
          },
        );
      };
      process.on('SIGINT', stop).on('SIGTERM', stop);
    },
  };
}

function serveOptions(version: string, values: Values): ServeOptions {
  const port = Number(values.port ?? 8080);
  if (!Number.isInteger(port) || port < 0 || port > 65535)
    throw new UsageError(`--port: expected 0 to 65535, received '${values.port}'`);
  const host = values.host ?? '127.0.0.1';
  const { 'tls-cert': cert, 'tls-key': key } = values;
  if ((cert === undefined) !== (key === undefined)) throw new UsageError('--tls-cert and --tls-key go together');
  return {
    version,
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
    maxBytes: maxSize(values),
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
    throw new UsageError(`--protocol: expected some of ${PROTOCOL_NAMES.join(', ')}, received '${name}'`);
  });
}

function tokens({ tokens: file, anonymous }: Values): ServeOptions['access'] {
  if (file === undefined) {
    if (anonymous !== undefined) throw new UsageError('--anonymous goes with --tokens');
    return undefined;
  }
  if (anonymous === undefined || anonymous === 'none' || anonymous === 'read' || anonymous === 'write') {
    return { file, anonymous };
  }
  throw new UsageError(`--anonymous: expected none, read or write, received '${anonymous}'`);
}

function storeKind(text: string): StoreKind {
  if (text === 'directory' || text === 'segments') return text;
  throw new UsageError(`--store: expected directory or segments, received '${text}'`);
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

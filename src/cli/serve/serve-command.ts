import { readFileSync } from 'node:fs';
import { isHostPattern, isLoopbackAddress } from '../../access/hosts.js';
import { type Command, parseArguments, parseSize, UsageError } from '../command.js';
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
  'allow-host': { type: 'string', multiple: true },
  writable: { type: 'boolean' },
  immutable: { type: 'boolean' },
  'verify-reads': { type: 'boolean' },
  'group-access': { type: 'boolean' },
  'max-size': { type: 'string' },
  'max-spool': { type: 'string' },
  'max-connections': { type: 'string' },
  'tls-cert': { type: 'string' },
  'tls-key': { type: 'string' },
} as const;

type Values = ReturnType<typeof parseArguments<typeof OPTIONS>>['values'];

const HELP = `Usage: hotblob serve [options]

Serves a store over HTTP/1.1 and HTTP/2 on one port. On SIGINT or SIGTERM, requests in flight have
30 seconds to complete. The same signal a second time exits immediately.

Options:
  --dir DIR            Directory of the artifacts, created if missing (default: ./artifacts)
  --store KIND         directory or segments (default: the kind found in DIR)
  --upstream URL       Cache to fetch misses from and to send uploads to (default: none)
  --protocol NAMES     Protocols to serve, separated by commas (default: all)
  --tokens FILE        Tokens and their access levels (default: none, no authentication)
  --anonymous LEVEL    Access without a valid token: none, read or write; requires --tokens (default: none)
  --port PORT          Port to listen on; 0 selects a free port (default: 8080)
  --host HOST          Address to listen on (default: 127.0.0.1)
  --allow-host NAME    Answer requests for this host name too, such as cache.example.com, '*.example.com' or
                       '*'; repeatable (default: without tokens, connections to a loopback address may only
                       be for localhost, 127.0.0.1 or [::1])
  --writable           Accept uploads without tokens if HOST is not a loopback address
  --immutable          Map files: asserts that files in DIR are never truncated or rewritten in place
  --verify-reads       Compare each artifact with its checksum before sending it; requires segments
  --group-access       Let the group read and write what is created in DIR (default: only this user)
  --max-size BYTES     Evict the least recently used artifacts above this size (default: no limit)
  --max-spool BYTES    Space in the temporary directory for downloads from the upstream (default: 8GiB)
  --max-connections N  Open connections; a further one closes an idle one (default: from ulimit -n)
  --tls-cert FILE      Certificate chain in PEM format: serves HTTPS; requires --tls-key
  --tls-key FILE       Private key in PEM format; requires --tls-cert

A directory store keeps one file per artifact, at /<path below DIR>. A segment store appends artifacts to a
few large files and requires lmdb. A new or empty DIR becomes a segment store if lmdb is installed, unless
--immutable is given.

The parts of unfinished module uploads of Tuist take up to a quarter of --max-size: in a directory store as
a part of it, in a segment store in addition.

Protocols: ${PROTOCOL_NAMES.join(', ')}.

Each line of the token file is 'read TOKEN' or 'write TOKEN', optionally followed by protocols=a,b and
namespaces=c,d. The file is reloaded when it changes. Replace it with mv: a last line without a newline is
not used.

The credentials for the upstream are user and password in URL, or a bearer token in the environment variable
HOTBLOB_UPSTREAM_TOKEN. BYTES may have the suffix K, M, G, T or KiB, MiB, GiB, TiB (powers of 1024).

Exit code: 0 after a shutdown by a signal, 1 if the server cannot start, 2 if the arguments are invalid.
`;

/** @param version version of this package */
export function serveCommand(version: string): Command {
  return {
    name: 'serve',
    summary: 'Serve a build cache over HTTP/1.1 and HTTP/2',
    help: HELP,
    async run(args) {
      const { values, positionals } = parseArguments(args, OPTIONS);
      if (positionals.length > 0) throw new UsageError(`unexpected argument '${positionals.join(' ')}'`);
      const server = await serve(serveOptions(version, values));
      process.stdout.write(`${server.description}\n`);

      let isStopping = false;
      const stop = () => {
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
    throw new UsageError(`--port: expected an integer from 0 to 65535, received '${values.port}'`);
  const host = values.host ?? '127.0.0.1';
  const { 'tls-cert': cert, 'tls-key': key } = values;
  if ((cert === undefined) !== (key === undefined)) {
    throw new UsageError(cert === undefined ? '--tls-key requires --tls-cert' : '--tls-cert requires --tls-key');
  }
  return {
    version,
    kind: values.store === undefined ? undefined : parseStoreKind(values.store),
    dir: values.dir ?? './artifacts',
    port,
    host,
    // With tokens, each token has its own access level.
    writable:
      values.writable === true || values.tokens !== undefined || host === 'localhost' || isLoopbackAddress(host),
    access: parseAccess(values),
    allowedHosts: parseAllowedHosts(values),
    protocols: values.protocol === undefined ? PROTOCOL_NAMES : parseProtocols(values.protocol),
    immutable: values.immutable,
    verifyReads: values['verify-reads'],
    groupAccess: values['group-access'],
    maxBytes: parseSize('--max-size', values['max-size']),
    maxConnections: parseMaxConnections(values),
    upstream: parseUpstream(values),
    tls: cert === undefined || key === undefined ? undefined : { cert: readFileSync(cert), key: readFileSync(key) },
  };
}

function parseUpstream({ upstream: url, 'max-spool': maxSpool }: Values): ServeOptions['upstream'] {
  const maxSpoolBytes = parseSize('--max-spool', maxSpool);
  if (url !== undefined) return { url, token: process.env['HOTBLOB_UPSTREAM_TOKEN'] || undefined, maxSpoolBytes };
  if (maxSpool !== undefined) throw new UsageError('--max-spool requires --upstream');
  return undefined;
}

function parseMaxConnections({ 'max-connections': text }: Values): number | undefined {
  if (text === undefined || /^[1-9]\d{0,8}$/.test(text)) return text === undefined ? undefined : Number(text);
  throw new UsageError(`--max-connections: expected a whole number from 1, received '${text}'`);
}

function parseProtocols(text: string): ProtocolName[] {
  return text.split(',').map((name) => {
    if (isProtocolName(name)) return name;
    throw new UsageError(`--protocol: unknown protocol '${name}'; expected one of ${PROTOCOL_NAMES.join(', ')}`);
  });
}

function parseAccess({ tokens: file, anonymous }: Values): ServeOptions['access'] {
  if (file === undefined) {
    if (anonymous !== undefined) throw new UsageError('--anonymous requires --tokens');
    return undefined;
  }
  if (anonymous === undefined || anonymous === 'none' || anonymous === 'read' || anonymous === 'write') {
    return { file, anonymous };
  }
  throw new UsageError(`--anonymous: expected none, read or write, received '${anonymous}'`);
}

function parseAllowedHosts({ 'allow-host': names }: Values): ServeOptions['allowedHosts'] {
  const invalid = names?.find((name) => !isHostPattern(name));
  if (invalid === undefined) return names;
  throw new UsageError(`--allow-host: expected a host name without a port, received '${invalid}'`);
}

function parseStoreKind(text: string): StoreKind {
  if (text === 'directory' || text === 'segments') return text;
  throw new UsageError(`--store: expected directory or segments, received '${text}'`);
}

import { isHostPattern } from '../../access/hosts.js';
import { processCount } from '../../cluster/run-processes.js';
import { ACCESS_LOG_FORMATS } from '../access-log/entry.js';
import { type parseArguments, UsageError } from '../command.js';
import { parseInteger, parseName, parseSize } from '../option-values.js';
import { isLoopbackHost } from './describe-access.js';
import type { StoreKind, UpstreamMode } from './open-store.js';
import { PROTOCOL_NAMES } from './protocol-names.js';
import { parseRetain } from './retain-option.js';
import type { ServeOptions } from './serve.js';
import { TrustedProxies } from './trusted-proxies.js';

/** Options of `hotblob serve`, for `parseArguments`. */
export const SERVE_OPTIONS = {
  dir: { type: 'string' },
  store: { type: 'string' },
  upstream: { type: 'string' },
  'upstream-mode': { type: 'string' },
  protocol: { type: 'string' },
  tokens: { type: 'string' },
  oidc: { type: 'string' },
  anonymous: { type: 'string' },
  port: { type: 'string' },
  host: { type: 'string' },
  'allow-host': { type: 'string', multiple: true },
  writable: { type: 'boolean' },
  'read-only': { type: 'boolean' },
  'write-once': { type: 'boolean' },
  immutable: { type: 'boolean' },
  'verify-reads': { type: 'boolean' },
  'group-access': { type: 'boolean' },
  'max-size': { type: 'string' },
  retain: { type: 'string', multiple: true },
  'max-upload': { type: 'string' },
  'max-spool': { type: 'string' },
  'spool-dir': { type: 'string' },
  processes: { type: 'string' },
  'max-connections': { type: 'string' },
  'keep-alive-timeout': { type: 'string' },
  'shutdown-timeout': { type: 'string' },
  'access-log': { type: 'string' },
  'access-log-format': { type: 'string' },
  'trust-proxy': { type: 'string', multiple: true },
  'tls-cert': { type: 'string' },
  'tls-key': { type: 'string' },
  'tls-client-ca': { type: 'string' },
} as const;

/** Texts of the options that are set. */
export type ServeValues = Values;
type Values = ReturnType<typeof parseArguments<typeof SERVE_OPTIONS>>['values'];

/** More processes than this are a mistake, such as a port in the wrong option. */
const MAX_PROCESSES = 1024;
const DAY_SECONDS = 24 * 60 * 60;
const STORE_KINDS: readonly StoreKind[] = ['directory', 'segments'];
const UPSTREAM_MODES: readonly UpstreamMode[] = ['read', 'write', 'write-back'];
const LEVELS = ['none', 'read', 'write'] as const;

/**
 * Parses the options of `hotblob serve`, without access to files or the network.
 *
 * @param version version of this package
 * @throws UsageError
 */
export function parseServeOptions(version: string, values: Values): ServeOptions {
  const port = parseInteger('--port', values.port, { min: 0, max: 65_535 }) ?? 8080;
  const host = parseHost(values.host);
  const processes = parseProcesses(values.processes);
  const maxBytes = parseLimit('--max-size', values['max-size'], 'omit the option');
  return {
    version,
    kind: values.store === undefined ? undefined : parseName('--store', values.store, 'kind', STORE_KINDS),
    dir: values.dir ?? './artifacts',
    port,
    host,
    processes,
    writable: isWritable(values, host),
    readOnly: values['read-only'],
    writeOnce: values['write-once'],
    access: parseAccess(values),
    allowedHosts: parseAllowedHosts(values),
    protocols: parseProtocols(values),
    immutable: values.immutable,
    verifyReads: values['verify-reads'],
    groupAccess: values['group-access'],
    maxBytes,
    retain: parseRetain(values.retain, maxBytes),
    maxUploadBytes: parseLimit('--max-upload', values['max-upload'], 'use a size such as 8TiB'),
    maxConnections: parseInteger('--max-connections', values['max-connections'], { min: 1, max: 999_999_999 }),
    keepAliveTimeoutMs: parseSeconds('--keep-alive-timeout', values['keep-alive-timeout'], 1),
    shutdownTimeoutMs: parseSeconds('--shutdown-timeout', values['shutdown-timeout'], 0),
    upstream: parseUpstream(values, host, port, processes),
    accessLog: parseAccessLog(values),
    trustedProxies: values['trust-proxy'] && new TrustedProxies(values['trust-proxy']),
    tls: parseTls(values),
  };
}

function isWritable(values: Values, host: string): boolean {
  const { writable = false, tokens, oidc, 'read-only': readOnly = false } = values;
  if (writable && readOnly) throw new UsageError('--writable and --read-only exclude each other');
  return !readOnly && (writable || tokens !== undefined || oidc !== undefined || isLoopbackHost(host));
}

function parseProcesses(text = '1'): number {
  if (text === 'max') return processCount('max');
  return parseInteger('--processes', text, { min: 1, max: MAX_PROCESSES }, "'max' or an integer") ?? 1;
}

function parseHost(text = '127.0.0.1'): string {
  const host = /^\[.*\]$/.test(text) ? text.slice(1, -1) : text; // the brackets of an IPv6 address in a URL
  if (host === '*') throw new UsageError("--host: expected an address, received '*'; use 0.0.0.0 (IPv4) or :: (all)");
  if (host.includes('/') || /^[^:]*:\d*$/.test(host)) {
    throw new UsageError(`--host: expected a name or an IP address, received '${text}'; the port belongs to --port`);
  }
  return host;
}

function parseSeconds(name: string, text: string | undefined, min: number): number | undefined {
  const seconds = parseInteger(name, text, { min, max: DAY_SECONDS }, 'a whole number of seconds');
  return seconds === undefined ? undefined : seconds * 1000;
}

/** @param unlimited how to ask for no limit, which 0 does not mean */
function parseLimit(name: string, text: string | undefined, unlimited: string): number | undefined {
  const bytes = parseSize(name, text);
  if (bytes !== 0) return bytes;
  throw new UsageError(`${name}: expected a size from 1, received '${text}'; for no limit, ${unlimited}`);
}

function parseUpstream(values: Values, host: string, port: number, processes: number): ServeOptions['upstream'] {
  const { upstream: text, 'upstream-mode': mode = 'write', 'spool-dir': spoolDir } = values;
  const maxSpoolBytes = parseSize('--max-spool', values['max-spool']);
  if (text === undefined) {
    for (const name of ['upstream-mode', 'spool-dir', 'max-spool'] as const) {
      if (values[name] !== undefined) throw new UsageError(`--${name} requires --upstream`);
    }
    return undefined;
  }
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    // Does not print the text, which may contain a password.
    const hint = text.includes('://') ? '' : ', with the scheme';
    throw new UsageError(`--upstream: expected an http: or https: URL such as https://cache.example.com${hint}`);
  }
  const upstreamPort = Number(url.port || (url.protocol === 'https:' ? 443 : 80));
  if (upstreamPort === port && isServedAt(host, url.hostname.replace(/^\[|\]$/g, ''))) {
    throw new UsageError(`--upstream: ${url.origin} is the address of this server itself; choose another --port`);
  }
  if (mode === 'write-back' && processes > 1) {
    const remedy = 'use --upstream-mode write, or --processes 1';
    throw new UsageError(`--upstream-mode: write-back needs one process, because its queue has one owner; ${remedy}`);
  }
  return {
    url: text,
    token: process.env['HOTBLOB_UPSTREAM_TOKEN'] || undefined,
    mode: parseName('--upstream-mode', mode, 'mode', UPSTREAM_MODES),
    spoolDir,
    maxSpoolBytes,
  };
}

/** Whether a server that listens on `host` receives connections to `name`. */
function isServedAt(host: string, name: string): boolean {
  if (host === '0.0.0.0' || host === '::') return isLoopbackHost(name);
  return addressesOf(name).some((address) => addressesOf(host).includes(address));
}

function addressesOf(name: string): readonly string[] {
  return name === 'localhost' ? ['127.0.0.1', '::1'] : [name];
}

function parseProtocols({ protocol }: Values): ServeOptions['protocols'] {
  if (protocol === undefined) return PROTOCOL_NAMES;
  return protocol.split(',').map((name) => parseName('--protocol', name.trim(), 'protocol', PROTOCOL_NAMES));
}

function parseAccess({ tokens, oidc, anonymous }: Values): ServeOptions['access'] {
  if (tokens === undefined && oidc === undefined) {
    if (anonymous !== undefined) throw new UsageError('--anonymous requires --tokens or --oidc');
    return undefined;
  }
  const level = anonymous === undefined ? undefined : parseName('--anonymous', anonymous, 'level', LEVELS);
  // The text of tokens must not appear in a message as the name of a file.
  return areTokenLines(tokens)
    ? { tokens: undefined, tokenLines: tokens, oidc, anonymous: level }
    : { tokens, oidc, anonymous: level };
}

/** Returns whether the value of `--tokens` is the content of a token file instead of its path. */
export function areTokenLines(text: string | undefined): boolean {
  return text !== undefined && /(?:^|\n)[ \t]*(?:read|write)[ \t]/.test(text);
}

function parseAllowedHosts({ 'allow-host': names }: Values): ServeOptions['allowedHosts'] {
  const invalid = names?.find((name) => !isHostPattern(name));
  if (invalid === undefined) return names;
  throw new UsageError(`--allow-host: expected a host name without scheme and port, received '${invalid}'`);
}

function parseAccessLog({ 'access-log': path, 'access-log-format': format }: Values): ServeOptions['accessLog'] {
  if (path !== undefined) {
    return { path, format: parseName('--access-log-format', format ?? 'json', 'format', ACCESS_LOG_FORMATS) };
  }
  if (format !== undefined) throw new UsageError('--access-log-format requires --access-log');
  return undefined;
}

function parseTls({ 'tls-cert': cert, 'tls-key': key, 'tls-client-ca': clientCa }: Values): ServeOptions['tls'] {
  if (cert !== undefined && key !== undefined) return { cert, key, clientCa };
  if (cert !== undefined) throw new UsageError('--tls-cert requires --tls-key');
  if (key !== undefined) throw new UsageError('--tls-key requires --tls-cert');
  if (clientCa !== undefined) throw new UsageError('--tls-client-ca requires --tls-cert and --tls-key');
  return undefined;
}

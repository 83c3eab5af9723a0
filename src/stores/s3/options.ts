import type { S3Client, S3ClientConfig } from '@aws-sdk/client-s3';
import { HotblobError } from '../../contract/errors.js';
import { assertKey } from '../../contract/store.js';
import { assertOptions, countFrom, FLAG, invalidOption, type OptionCheck } from '../../contract/validation.js';
import type { Sdk } from './sdk.js';

const KIB = 1024;
const MIB = 1024 * KIB;
/** S3's own limits: parts of 5 MiB to 5 GiB, but for the last one. */
const MIN_PART_BYTES = 5 * MIB;
const MAX_PART_BYTES = 5 * 1024 * MIB;
/** A connection carries one request, and a download holds it until its client has read. The SDK's 50 are too few for that. */
const MAX_SOCKETS = 256;
/** A host that is there answers a SYN sooner than this, in milliseconds. */
const CONNECT_TIMEOUT_MS = 5000;

/** What {@link s3Store} takes. */
export interface S3StoreOptions {
  /** The bucket's name, or the ARN of an access point. */
  readonly bucket: string;
  /** Objects are at `prefix/key`, so that a bucket can hold several caches. Default: at `key`. */
  readonly prefix?: string | undefined;
  /**
   * A client that is there already. It stays its owner's: `close` leaves it alone, and its own configuration is what
   * counts. Default: one that the store makes of the next five options.
   */
  readonly client?: S3Client | undefined;
  /** The URL of a service other than AWS, such as `https://minio.internal:9000`. */
  readonly endpoint?: string | undefined;
  /** Default: what the environment and the SDK's configuration files say. */
  readonly region?: string | undefined;
  /** Default: what the environment, the SDK's configuration files, the container or the machine's role say. */
  readonly credentials?: S3ClientConfig['credentials'] | undefined;
  /** Whether the bucket's name is in the path and not in the host name, as most services other than AWS need it. Default: false. */
  readonly forcePathStyle?: boolean | undefined;
  /** How often a request is tried in all, with the SDK's pauses between; a body that is cut off goes on where it ended. Default: 3. */
  readonly maxAttempts?: number | undefined;
  /**
   * How long the service may take to answer, and how long nothing may come or go of a body, in milliseconds. It also bounds
   * how long an upload waits for its buffer. Default: 10,000.
   */
  readonly requestTimeoutMs?: number | undefined;
  /** Bytes of a part, from 5 MiB. What is larger goes up in parts, 10,000 of them at most. Default: 16 MiB. */
  readonly partBytes?: number | undefined;
  /** All parts in memory together, in bytes; an upload reads on when there is room for its next one. Default: eight parts. */
  readonly uploadBytes?: number | undefined;
  /**
   * How much of an artifact comes with the question whether it is there, in bytes. Up to this length a download is one
   * request, above it two. 0: a HEAD goes first. Default: 64 KiB.
   */
  readonly firstBytes?: number | undefined;
}

/** The options with nothing left out. */
export interface S3Settings {
  readonly bucket: string;
  /** With the slash at its end; empty for none. */
  readonly prefix: string;
  readonly client: S3Client;
  /** Whether the client is the store's to destroy. */
  readonly ownsClient: boolean;
  readonly requestTimeoutMs: number;
  readonly partBytes: number;
  readonly uploadBytes: number;
  readonly firstBytes: number;
}

/**
 * Fills in the defaults and makes the client.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`, without what was found where that may be a secret
 */
export function s3SettingsOf(options: S3StoreOptions, sdk: Sdk): S3Settings {
  assertOptions(options, CHECKS);
  const { client, bucket, prefix, requestTimeoutMs = 10_000, partBytes = 16 * MIB, firstBytes = 64 * KIB } = options;
  if (bucket === undefined) throw invalidOption('bucket', TEXT.expected, bucket);
  assertClient(client);
  assertEndpoint(options.endpoint);
  assertCredentials(options.credentials);
  const uploadBytes = options.uploadBytes ?? 8 * partBytes;
  if (uploadBytes < partBytes)
    throw invalidOption('uploadBytes', `at least one part of ${partBytes} bytes`, uploadBytes);
  if (client !== undefined) {
    const name = CLIENT_OPTIONS.find((each) => options[each] !== undefined);
    if (name !== undefined) throw invalidOption('client', `none of ${CLIENT_OPTIONS.join(', ')} beside it`, name);
  }
  return {
    bucket,
    prefix: prefixOf(prefix),
    client: client ?? new sdk.S3Client(configOf(options, requestTimeoutMs)),
    ownsClient: client === undefined,
    requestTimeoutMs,
    partBytes,
    uploadBytes,
    firstBytes,
  };
}

const TEXT: OptionCheck = {
  expected: 'a string that is not empty',
  accepts: (value) => typeof value === 'string' && value !== '',
};
/** For what may hold a secret and must not be shown: it is checked by itself. */
const UNSEEN: OptionCheck = { expected: '', accepts: () => true };

const CHECKS: Readonly<Record<keyof S3StoreOptions, OptionCheck>> = {
  bucket: TEXT,
  prefix: { expected: 'a string', accepts: (value) => typeof value === 'string' },
  client: UNSEEN,
  endpoint: UNSEEN,
  region: TEXT,
  credentials: UNSEEN,
  forcePathStyle: FLAG,
  maxAttempts: countFrom(1),
  requestTimeoutMs: countFrom(1),
  partBytes: {
    expected: `a whole number of bytes from ${MIN_PART_BYTES} to ${MAX_PART_BYTES}`,
    accepts: (value) =>
      Number.isSafeInteger(value) && Number(value) >= MIN_PART_BYTES && Number(value) <= MAX_PART_BYTES,
  },
  uploadBytes: countFrom(MIN_PART_BYTES),
  firstBytes: countFrom(0),
};

const CLIENT_OPTIONS = ['endpoint', 'region', 'credentials', 'forcePathStyle', 'maxAttempts'] as const;

function prefixOf(prefix: string | undefined): string {
  if (prefix === undefined || prefix === '') return '';
  const segments = prefix.replace(/\/+$/, '');
  try {
    assertKey(segments);
  } catch (cause) {
    const message = `prefix: expected segments joined by "/", as in a key, received '${prefix}'`;
    throw new HotblobError('ERR_HOTBLOB_INVALID_OPTION', message, { cause });
  }
  return `${segments}/`;
}

function assertClient(client: unknown): void {
  if (client === undefined) return;
  if (typeof client === 'object' && client !== null && 'send' in client && typeof client.send === 'function') return;
  // Without what was found: it may be a configuration.
  throw new HotblobError('ERR_HOTBLOB_INVALID_OPTION', 'client: expected an S3Client, received something else');
}

function assertEndpoint(endpoint: unknown): void {
  if (endpoint === undefined) return;
  const url = typeof endpoint === 'string' && URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (url !== undefined && /^https?:$/.test(url.protocol) && url.username === '' && url.password === '') return;
  // Without what was found: it may have a password in it.
  const message = 'endpoint: expected an http or https URL without a user, received something else';
  throw new HotblobError('ERR_HOTBLOB_INVALID_OPTION', message);
}

function assertCredentials(credentials: unknown): void {
  if (credentials === undefined || typeof credentials === 'function') return;
  if (typeof credentials === 'object' && credentials !== null) {
    const { accessKeyId, secretAccessKey } = { accessKeyId: undefined, secretAccessKey: undefined, ...credentials };
    if (TEXT.accepts(accessKeyId) && TEXT.accepts(secretAccessKey)) return;
  }
  const message =
    'credentials: expected { accessKeyId, secretAccessKey } or a function that resolves to it, received something else';
  throw new HotblobError('ERR_HOTBLOB_INVALID_OPTION', message);
}

function configOf(options: S3StoreOptions, requestTimeoutMs: number): S3ClientConfig {
  const { endpoint, region, credentials, forcePathStyle = false, maxAttempts = 3 } = options;
  return {
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(region === undefined ? {} : { region }),
    ...(credentials === undefined ? {} : { credentials }),
    forcePathStyle,
    maxAttempts,
    // Each body is signed with its SHA-256, which the service checks; a CRC on top of it would take the loop 8 ms for 16 MiB,
    // and services other than AWS do not all know it.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // Waiting for "100 Continue" takes the SDK a new connection for each part.
    expectContinueHeader: false,
    requestHandler: {
      connectionTimeout: Math.min(CONNECT_TIMEOUT_MS, requestTimeoutMs),
      // From the start to the headers of the answer; requests with a body are told to go by the next instead.
      requestTimeout: requestTimeoutMs,
      throwOnRequestTimeout: true,
      socketTimeout: requestTimeoutMs,
      httpAgent: { keepAlive: true, maxSockets: MAX_SOCKETS },
      httpsAgent: { keepAlive: true, maxSockets: MAX_SOCKETS },
      // Without one it writes to the console.
      logger: SILENT,
    },
  };
}

const nothing = (): void => {};
const SILENT = { trace: nothing, debug: nothing, info: nothing, warn: nothing, error: nothing };

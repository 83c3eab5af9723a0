import type { S3Client, S3ClientConfig } from '@aws-sdk/client-s3';
import { HotblobError } from '../../contract/errors.js';
import { assertKey } from '../../contract/store.js';
import {
  assertOptions,
  countFrom,
  FLAG,
  invalidOption,
  MILLISECONDS,
  type OptionCheck,
} from '../../contract/validation.js';
import type { Sdk } from './sdk.js';

const KIB = 1024;
const MIB = 1024 * KIB;
/** Size limits of S3 for a part of a multipart upload. The last part may be smaller. */
const MIN_PART_BYTES = 5 * MIB;
const MAX_PART_BYTES = 5 * 1024 * MIB;
/**
 * Maximum number of connections. The SDK's default of 50 is too low, because a connection carries one request at a
 * time, and a slow client occupies its connection.
 */
const MAX_SOCKETS = 256;
const CONNECT_TIMEOUT_MS = 5000;

/** Options of {@link s3Store}. */
export interface S3StoreOptions {
  /** Name of the bucket, or ARN of an access point. */
  readonly bucket: string;
  /** Prefix of the object names: an object is named `prefix/key`. Default: none; an object is named `key`. */
  readonly prefix?: string | undefined;
  /**
   * Existing client, which keeps its own configuration. `close()` does not destroy it. Cannot be combined with
   * `endpoint`, `region`, `credentials`, `forcePathStyle` or `maxAttempts`. Default: the store creates a client from
   * these options.
   */
  readonly client?: S3Client | undefined;
  /** URL of a service other than AWS, such as `https://minio.internal:9000`. Default: AWS. */
  readonly endpoint?: string | undefined;
  /** Region of the bucket. Default: the region from the environment or the AWS configuration files. */
  readonly region?: string | undefined;
  /**
   * Credentials for S3. Default: the SDK's provider chain (environment, AWS configuration files, container or instance
   * role).
   */
  readonly credentials?: S3ClientConfig['credentials'] | undefined;
  /**
   * Whether the name of the bucket is in the path of request URLs instead of the host name. Most services other than
   * AWS require it. Default: false.
   */
  readonly forcePathStyle?: boolean | undefined;
  /**
   * Maximum number of attempts per request. The SDK waits between attempts (backoff). An interrupted download fails
   * after this many consecutive attempts without progress. Default: 3.
   */
  readonly maxAttempts?: number | undefined;
  /**
   * Timeout in milliseconds. It limits the time to the response headers, the time without a byte of a body, and the
   * time that an upload waits for memory. Default: 10,000.
   */
  readonly requestTimeoutMs?: number | undefined;
  /**
   * Size of a part, in bytes; at least 5 MiB. A larger upload is sent as a multipart upload of at most 10,000 parts.
   * Default: 16 MiB.
   */
  readonly partBytes?: number | undefined;
  /**
   * Memory for the parts of all uploads together, in bytes; at least twice `partBytes`. A part takes memory as its
   * bytes arrive. When the memory is used up, parts wait. Default: eight parts.
   */
  readonly uploadBytes?: number | undefined;
  /**
   * Number of bytes of the object that a lookup requests together with the metadata. A download up to this size takes
   * one request, a larger download takes two. With `0`, a lookup sends a HEAD request. Default: 64 KiB.
   */
  readonly firstBytes?: number | undefined;
}

/** Validated options with all defaults applied. */
export interface S3Settings {
  readonly bucket: string;
  /** Prefix of the object names. It ends with a slash or is empty. */
  readonly prefix: string;
  readonly client: S3Client;
  /** Whether `close()` destroys the client. */
  readonly ownsClient: boolean;
  readonly requestTimeoutMs: number;
  readonly partBytes: number;
  readonly uploadBytes: number;
  readonly firstBytes: number;
}

/**
 * Validates the options, applies the defaults and creates the client.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`. The message omits received values that may be secrets.
 */
export function s3SettingsOf(options: S3StoreOptions, sdk: Sdk): S3Settings {
  assertOptions(options, CHECKS);
  const { client, bucket, prefix, requestTimeoutMs = 10_000, partBytes = 16 * MIB, firstBytes = 64 * KIB } = options;
  if (bucket === undefined) throw invalidOption('bucket', NON_EMPTY_STRING.expected, bucket);
  assertClient(client);
  assertEndpoint(options.endpoint);
  assertCredentials(options.credentials);
  const uploadBytes = options.uploadBytes ?? 8 * partBytes;
  if (uploadBytes < 2 * partBytes) {
    throw invalidOption('uploadBytes', `at least twice partBytes (${2 * partBytes})`, uploadBytes);
  }
  if (client !== undefined) {
    const name = CLIENT_OPTIONS.find((each) => options[each] !== undefined);
    if (name !== undefined) {
      const message = `client: cannot be combined with ${name}; configure ${name} in the client`;
      throw new HotblobError('ERR_HOTBLOB_INVALID_OPTION', message);
    }
  }
  return {
    bucket,
    prefix: normalizePrefix(prefix),
    client: client ?? new sdk.S3Client(clientConfigOf(options, requestTimeoutMs)),
    ownsClient: client === undefined,
    requestTimeoutMs,
    partBytes,
    uploadBytes,
    firstBytes,
  };
}

const NON_EMPTY_STRING: OptionCheck = {
  expected: 'a string that is not empty',
  accepts: (value) => typeof value === 'string' && value !== '',
};
/** Accepts every value. The value may be a secret, so a separate check validates it and does not show it. */
const CHECKED_SEPARATELY: OptionCheck = { expected: '', accepts: () => true };

const CHECKS: Readonly<Record<keyof S3StoreOptions, OptionCheck>> = {
  bucket: NON_EMPTY_STRING,
  prefix: { expected: 'a string', accepts: (value) => typeof value === 'string' },
  client: CHECKED_SEPARATELY,
  endpoint: CHECKED_SEPARATELY,
  region: NON_EMPTY_STRING,
  credentials: CHECKED_SEPARATELY,
  forcePathStyle: FLAG,
  maxAttempts: countFrom(1),
  requestTimeoutMs: MILLISECONDS,
  partBytes: {
    expected: `a whole number of bytes from ${MIN_PART_BYTES} to ${MAX_PART_BYTES}`,
    accepts: (value) =>
      Number.isSafeInteger(value) && Number(value) >= MIN_PART_BYTES && Number(value) <= MAX_PART_BYTES,
  },
  uploadBytes: countFrom(2 * MIN_PART_BYTES),
  firstBytes: countFrom(0),
};

/** Options that configure the client of the store. */
const CLIENT_OPTIONS = ['endpoint', 'region', 'credentials', 'forcePathStyle', 'maxAttempts'] as const;

function normalizePrefix(prefix: string | undefined): string {
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
  // The value is not shown: it may be a configuration with credentials.
  throw new HotblobError('ERR_HOTBLOB_INVALID_OPTION', 'client: expected an S3Client, received something else');
}

function assertEndpoint(endpoint: unknown): void {
  if (endpoint === undefined) return;
  const url = typeof endpoint === 'string' && URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (url !== undefined && /^https?:$/.test(url.protocol) && url.username === '' && url.password === '') return;
  // The value is not shown: it may contain a password.
  const message = 'endpoint: expected an http or https URL without a username and password, received something else';
  throw new HotblobError('ERR_HOTBLOB_INVALID_OPTION', message);
}

function assertCredentials(credentials: unknown): void {
  if (credentials === undefined || typeof credentials === 'function') return;
  if (typeof credentials === 'object' && credentials !== null) {
    const { accessKeyId, secretAccessKey } = { accessKeyId: undefined, secretAccessKey: undefined, ...credentials };
    if (NON_EMPTY_STRING.accepts(accessKeyId) && NON_EMPTY_STRING.accepts(secretAccessKey)) return;
  }
  const message =
    'credentials: expected { accessKeyId, secretAccessKey } or a function that resolves to it, received something else';
  throw new HotblobError('ERR_HOTBLOB_INVALID_OPTION', message);
}

function clientConfigOf(options: S3StoreOptions, requestTimeoutMs: number): S3ClientConfig {
  const { endpoint, region, credentials, forcePathStyle = false, maxAttempts = 3 } = options;
  return {
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(region === undefined ? {} : { region }),
    ...(credentials === undefined ? {} : { credentials }),
    forcePathStyle,
    maxAttempts,
    // The signature already covers the SHA-256 of each body. An additional CRC would block the event loop for 8 ms per
    // 16 MiB, and not all services other than AWS support it.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // With "Expect: 100-continue" the SDK opens a new connection for each part.
    expectContinueHeader: false,
    requestHandler: {
      connectionTimeout: Math.min(CONNECT_TIMEOUT_MS, requestTimeoutMs),
      // Time from the start of the request to the response headers. Requests with a body set it to 0, and only the socket
      // timeout applies to them.
      requestTimeout: requestTimeoutMs,
      throwOnRequestTimeout: true,
      socketTimeout: requestTimeoutMs,
      httpAgent: { keepAlive: true, maxSockets: MAX_SOCKETS },
      httpsAgent: { keepAlive: true, maxSockets: MAX_SOCKETS },
      // By default, the request handler of the SDK logs to the console.
      logger: SILENT_LOGGER,
    },
  };
}

const ignore = (): void => {};
const SILENT_LOGGER = { trace: ignore, debug: ignore, info: ignore, warn: ignore, error: ignore };

import { resolve } from 'node:path';
import { HotblobError } from '../../contract/errors.js';
import { assertOptions } from '../../contract/validation.js';
import { JsonSyntaxError, type LocatedJson, parseLocatedJson, type TextPosition } from '../../util/located-json.js';
import type { FileContent } from '../changing-file.js';
import { hiddenOption } from '../hidden-options.js';
import { logAccess } from '../log.js';
import type { AccessDecision, AccessPolicy, AccessRequest } from '../policy.js';
import { DEFAULT_MAX_STALE_MS, PolicyFile } from '../policy-file.js';
import { OWN_PROTOCOLS } from '../token-syntax.js';
import { warnWith } from '../warnings.js';
import { isObject } from './check.js';
import { KeyPool } from './key-pool.js';
import { type Clocks, createOidcPolicy, type OidcPolicy, SYSTEM_CLOCKS } from './oidc-access.js';
import { OptionError } from './option-error.js';
import type { OidcOptions } from './options.js';

/** Options of {@link oidcFile}. */
export interface OidcFileOptions {
  /** Names of your own protocols, which rules may name. Default: none. */
  readonly protocols?: readonly string[] | undefined;
  /**
   * Called with one line, which contains no token, for each problem of the file and of the keys of its issuers. Errors that it throws
   * are logged and ignored. Default: the lines go to `DEBUG=hotblob:access` only.
   */
  readonly onWarning?: ((line: string) => void) | undefined;
}

/** Policy with the rules of a file. Created by {@link oidcFile}. */
export interface OidcFilePolicy extends AccessPolicy {
  /** Issuers in the file. */
  readonly issuers: readonly string[];
  /** Whether a rule in the file is about certificates. */
  readonly usesCertificates: boolean;
  /** Checks the file now, and fetches the keys of all issuers. Problems go to `onWarning`. Never rejects. */
  reload(): Promise<void>;
}

/**
 * Creates the policy of `oidcAccess` with the options in a JSON file, except `protocols` and `onWarning`.
 *
 * If the last check is at least one second old, a request checks the file for changes and waits for the result. The policy has no
 * timer and no watcher, and does not have to be closed. If the file becomes invalid, its last valid rules are used for ten minutes.
 * The keys of issuers that remain in the file are not fetched again.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an invalid option or file. The message contains path, line and column
 */
export function oidcFile(path: string, options: OidcFileOptions = {}): Promise<OidcFilePolicy> {
  return openOidcFile(path, options, SYSTEM_CLOCKS);
}

/** Like {@link oidcFile}, with other clocks. */
export async function openOidcFile(path: string, options: OidcFileOptions, clocks: Clocks): Promise<OidcFilePolicy> {
  if (typeof path !== 'string' || path === '') throw hiddenOption('path', 'the path of a file', path);
  assertOptions(options, {
    protocols: OWN_PROTOCOLS,
    onWarning: { expected: 'a function', accepts: (value) => typeof value === 'function' },
  });
  const file = new OidcFile(resolve(path), options, clocks);
  await file.load();
  const policy = (request: AccessRequest) => file.decide(request);
  Object.defineProperties(policy, {
    issuers: { enumerable: true, get: () => file.version?.issuers ?? [] },
    usesCertificates: { enumerable: true, get: () => file.version?.usesCertificates ?? false },
  });
  return Object.assign(policy, { reload: () => file.reload() }) as OidcFilePolicy; // the properties are defined above
}

/** Policy of one version of the file. */
interface Version {
  readonly policy: OidcPolicy;
  readonly issuers: readonly string[];
  readonly usesCertificates: boolean;
}

class OidcFile {
  readonly #path: string;
  readonly #options: OidcFileOptions;
  readonly #clocks: Clocks;
  readonly #warn: (line: string) => void;
  readonly #pool = new KeyPool();
  readonly #file: PolicyFile<Version | undefined>;

  constructor(path: string, options: OidcFileOptions, clocks: Clocks) {
    this.#path = path;
    this.#options = options;
    this.#clocks = clocks;
    this.#warn = warnWith(options.onWarning);
    this.#file = new PolicyFile<Version | undefined>(path, {
      parse: (content) => this.#parse(content),
      none: undefined,
      maxStaleMs: DEFAULT_MAX_STALE_MS,
      terms: { content: 'rules', file: 'file with rules' },
      warn: this.#warn,
      now: clocks.monotonicMs,
    });
  }

  get version(): Version | undefined {
    return this.#file.value;
  }

  decide(request: AccessRequest): AccessDecision | Promise<AccessDecision> {
    const check = this.#file.check();
    return check === undefined ? this.#decide(request) : check.then(() => this.#decide(request));
  }

  load(): Promise<void> {
    return this.#file.load();
  }

  async reload(): Promise<void> {
    await this.#file.reload();
    await this.#file.value?.policy.reload();
  }

  #decide(request: AccessRequest): AccessDecision | Promise<AccessDecision> {
    return this.#file.value?.policy(request) ?? 'none';
  }

  #parse({ text, mode }: FileContent): Version {
    const json = this.#parseJson(text);
    if (!isObject(json.value)) throw this.#error(json.positionOf([]), 'expected an object with the property rules');
    for (const name of ['protocols', 'onWarning']) {
      if (!Object.hasOwn(json.value, name)) continue;
      throw this.#error(json.positionOf([name]), `${name}: expected no such property in a file; remove it`);
    }
    const options = json.value as object as OidcOptions; // createOidcPolicy() checks the properties
    const { protocols, onWarning } = this.#options;
    try {
      const policy = createOidcPolicy({ ...options, protocols, onWarning }, this.#clocks, this.#pool);
      const issuers = (options.issuers ?? []).map(({ issuer }) => issuer);
      logAccess('%s: loaded %d rules', this.#path, options.rules.length);
      this.#warnAbout(mode);
      return { policy, issuers, usesCertificates: options.rules.some(({ certificate }) => certificate !== undefined) };
    } catch (error) {
      if (error instanceof OptionError) throw this.#error(json.positionOf(error.path), error.message);
      throw error;
    }
  }

  /** The file contains no secrets, but who may write it decides who may use the cache. */
  #warnAbout(mode: number): void {
    if ((mode & 0o022) === 0 || process.platform === 'win32') return; // Windows has no permission bits for group and others
    this.#warn(`${this.#path}: group or others may write the file (mode ${mode.toString(8)})`);
  }

  #parseJson(text: string): LocatedJson {
    try {
      return parseLocatedJson(text);
    } catch (error) {
      if (error instanceof JsonSyntaxError) throw this.#error(error.position, error.message);
      throw error;
    }
  }

  #error({ line, column }: TextPosition, message: string): HotblobError {
    return new HotblobError('ERR_HOTBLOB_INVALID_OPTION', `${this.#path}:${line}:${column}: ${message}`);
  }
}

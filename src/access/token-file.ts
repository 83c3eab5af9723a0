import { resolve } from 'node:path';
import type { OptionCheck } from '../contract/validation.js';
import { printable } from '../util/printable.js';
import { ChangingFile, type FileContent } from './changing-file.js';
import type { AccessLevel } from './grant.js';
import { assertHiddenOptions, hiddenOption } from './hidden-options.js';
import { logAccess } from './log.js';
import type { AccessDecision, AccessPolicy, AccessRequest } from './policy.js';
import { parseTokenLines, splitCompleteLines, type TokenLine } from './token-lines.js';
import { MIN_TOKEN_LENGTH, TokenSet } from './token-set.js';
import { ANONYMOUS, OWN_PROTOCOLS } from './token-syntax.js';

/** Minimum time between two checks of the file. */
const CHECK_INTERVAL_MS = 1000;

/** Options of {@link tokenFile}. */
export interface TokenFileOptions {
  /** Minimum access level of every client, with or without a known token. Default: `'none'`. */
  readonly anonymous?: AccessLevel | undefined;
  /**
   * Time in milliseconds for which the last valid tokens are still accepted after the file was found missing,
   * unreadable or invalid. After that, all tokens are rejected until the file is valid again. With 0, tokens are
   * rejected at once; with Infinity, never. Default: 600,000 (ten minutes).
   */
  readonly maxStaleMs?: number | undefined;
  /**
   * Names of your own protocols. A token whose `protocols=` has another name than these and those of this package is an
   * error, because it would be valid for less than intended. Default: none.
   */
  readonly protocols?: readonly string[] | undefined;
  /**
   * Called with one line, which contains no token, when the file becomes invalid, when its tokens expire, and for each
   * problem of a valid file: an incomplete last line, short tokens, access for group or others. Errors that it throws
   * are logged and ignored. Default: the lines go to `DEBUG=hotblob:access` only.
   */
  readonly onWarning?: ((line: string) => void) | undefined;
}

/** Policy with the tokens of a file. Created by {@link tokenFile}. */
export interface TokenFilePolicy extends AccessPolicy {
  /** Checks the file now, without waiting for the next request. Problems go to `onWarning`. Never rejects. */
  reload(): Promise<void>;
}

/**
 * Default of `maxStaleMs`: ten minutes. That is enough time to repair the file, and a revoked token does not remain
 * valid for long.
 */
export const DEFAULT_MAX_STALE_MS = 600_000;

/**
 * Creates a policy with the tokens in a file, one per line: `read` or `write`, the token, and optionally
 * `protocols=a,b`, `namespaces=c,d`, `scope=e`, `reads=f,g`, `write-once` and `name=h`, separated by spaces. `#` starts a
 * comment. A file without tokens is valid.
 *
 * If the last check is at least one second old, a request with a token checks the file for changes and waits for the
 * result. The policy has no timer and no watcher, and does not have to be closed. Replace the file by rename, because a
 * file that is written in place can be read while lines are missing. A last line that does not end with a newline is
 * not used, because the rest of it may follow.
 *
 * If the file becomes invalid, its last valid tokens are accepted for `maxStaleMs`. `DEBUG=hotblob:access` logs each
 * change and what `onWarning` receives.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an invalid option or file. The message contains the path and
 *   the line, never a token
 */
export function tokenFile(path: string, options: TokenFileOptions = {}): Promise<TokenFilePolicy> {
  return openTokenFile(path, options, () => performance.now());
}

/**
 * Creates the policy of {@link tokenFile}.
 *
 * @param now returns the time of a monotonic clock in milliseconds
 */
export async function openTokenFile(
  path: string,
  options: TokenFileOptions,
  now: () => number,
): Promise<TokenFilePolicy> {
  if (typeof path !== 'string' || path === '') throw hiddenOption('path', 'the path of a file', path);
  assertHiddenOptions('', options, {
    anonymous: ANONYMOUS,
    maxStaleMs: STALE,
    protocols: OWN_PROTOCOLS,
    onWarning: FUNCTION,
  });
  const file = new TokenFile(resolve(path), options, now);
  await file.load();
  return Object.assign((request: AccessRequest) => file.decide(request), { reload: () => file.reload() });
}

const STALE: OptionCheck = {
  expected: 'a number of milliseconds from 0',
  accepts: (value) => typeof value === 'number' && value >= 0,
};

const FUNCTION: OptionCheck = {
  expected: 'a function',
  accepts: (value) => typeof value === 'function',
};

class TokenFile {
  readonly #path: string;
  readonly #file: ChangingFile;
  readonly #anonymous: AccessLevel | undefined;
  readonly #maxStaleMs: number;
  readonly #protocols: readonly string[] | undefined;
  readonly #onWarning: ((line: string) => void) | undefined;
  readonly #now: () => number;
  /** Token set without tokens: every client is anonymous. */
  readonly #noTokens: TokenSet;
  #tokens: TokenSet;
  #checkedAt = 0;
  #checking: Promise<void> | undefined;
  /** Error of the file, and the time since when every check has failed; undefined if the last check succeeded. */
  #failure: { readonly message: string; readonly since: number } | undefined;

  constructor(path: string, options: TokenFileOptions, now: () => number) {
    const { anonymous, maxStaleMs, protocols, onWarning } = options;
    this.#path = path;
    this.#file = new ChangingFile(path);
    this.#anonymous = anonymous;
    this.#maxStaleMs = maxStaleMs ?? DEFAULT_MAX_STALE_MS;
    this.#protocols = protocols && [...protocols];
    this.#onWarning = onWarning;
    this.#now = now;
    this.#noTokens = new TokenSet([], anonymous);
    this.#tokens = this.#noTokens;
  }

  decide(request: AccessRequest): AccessDecision | Promise<AccessDecision> {
    // A request without a token causes no I/O.
    if (request.credentials === undefined) return this.#noTokens.decide(request);
    if (this.#checking === undefined) {
      if (this.#now() - this.#checkedAt < CHECK_INTERVAL_MS) return this.#tokens.decide(request);
      this.#checking = this.#check();
    }
    return this.#checking.then(() => this.#tokens.decide(request));
  }

  /** Checks the file after the check in flight, if any, which may have read the file before its last change. */
  async reload(): Promise<void> {
    await this.#checking;
    this.#checking ??= this.#check();
    await this.#checking;
  }

  /**
   * Loads the tokens if the file has changed.
   *
   * @throws HotblobError if the file is invalid. The previous tokens are kept
   */
  async load(): Promise<void> {
    // The time is set before the read, so that the next check finds a change that happens during the read.
    this.#checkedAt = this.#now();
    const content = await this.#file.readIfChanged();
    if (content === undefined) return;
    const { complete, incompleteLine } = splitCompleteLines(content.text);
    const lines = parseTokenLines(complete, this.#path, this.#protocols);
    this.#tokens = new TokenSet(
      lines.map(({ entry }) => entry),
      this.#anonymous,
    );
    this.#failure = undefined;
    logAccess('%s: loaded %d tokens', this.#path, this.#tokens.size);
    if (incompleteLine !== undefined) {
      this.#warn(`${this.#path}:${incompleteLine}: the last line is not used, because it does not end with a newline`);
    }
    this.#warnAbout(content, lines);
  }

  /** Checks the file. Never rejects, because all concurrent requests wait for it. */
  async #check(): Promise<void> {
    try {
      await this.load();
    } catch (error) {
      this.#recordFailure(error);
    }
    this.#expire();
    this.#checking = undefined;
  }

  #recordFailure(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    const before = this.#failure;
    this.#failure = { message, since: before?.since ?? this.#now() };
    if (message === before?.message) return;
    this.#warn(
      `${message}: the last valid tokens are accepted for ${this.#maxStaleMs} ms after the file first failed to load`,
    );
  }

  #expire(): void {
    if (this.#failure === undefined || this.#tokens === this.#noTokens) return;
    if (this.#now() - this.#failure.since < this.#maxStaleMs) return;
    this.#tokens = this.#noTokens;
    this.#warn(
      `${this.#path}: no valid token file for ${this.#maxStaleMs} ms (maxStaleMs): all tokens rejected until it is valid again`,
    );
  }

  #warnAbout({ mode }: FileContent, lines: readonly TokenLine[]): void {
    if (lines.length === 0) this.#warn(`${this.#path}: the file contains no token`);
    // Windows has no permission bits for group and others.
    if ((mode & 0o077) !== 0 && process.platform !== 'win32') {
      this.#warn(`${this.#path}: group or others have access (mode ${mode.toString(8)})`);
    }
    for (const { line, entry } of lines) {
      if (entry.token.length >= MIN_TOKEN_LENGTH) continue;
      this.#warn(`${this.#path}:${line}: token shorter than ${MIN_TOKEN_LENGTH} characters`);
    }
  }

  #warn(line: string): void {
    logAccess('%s', line);
    // An error of the application, thrown or as a rejected promise, must not keep the tokens from being loaded.
    const call = async (): Promise<void> => this.#onWarning?.(printable(line));
    call().catch((error: unknown) => logAccess('onWarning failed: %O', error));
  }
}

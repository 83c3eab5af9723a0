import { resolve } from 'node:path';
import type { OptionCheck } from '../contract/validation.js';
import type { FileContent } from './changing-file.js';
import type { AccessLevel } from './grant.js';
import { assertHiddenOptions, hiddenOption } from './hidden-options.js';
import { logAccess } from './log.js';
import type { AccessDecision, AccessPolicy, AccessRequest } from './policy.js';
import { DEFAULT_MAX_STALE_MS, PolicyFile } from './policy-file.js';
import { parseTokenLines, splitCompleteLines, type TokenLine } from './token-lines.js';
import { MIN_TOKEN_LENGTH, TokenSet } from './token-set.js';
import { ANONYMOUS, OPERATOR_PROTOCOL, OWN_PROTOCOLS } from './token-syntax.js';
import { warnWith } from './warnings.js';

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
  readonly #options: TokenFileOptions;
  readonly #file: PolicyFile<TokenSet>;
  /** Token set without tokens: every client is anonymous. */
  readonly #noTokens: TokenSet;
  readonly #warn: (line: string) => void;
  /** Whether the file has ever had a token with scopes. */
  #hasScopes = false;

  constructor(path: string, options: TokenFileOptions, now: () => number) {
    this.#path = path;
    this.#options = { ...options, protocols: options.protocols && [...options.protocols] };
    this.#warn = warnWith(options.onWarning);
    this.#noTokens = new TokenSet([], options.anonymous);
    this.#file = new PolicyFile(path, {
      parse: (content) => this.#parse(content),
      none: this.#noTokens,
      maxStaleMs: options.maxStaleMs ?? DEFAULT_MAX_STALE_MS,
      terms: { content: 'tokens', file: 'token file' },
      warn: this.#warn,
      now,
    });
  }

  decide(request: AccessRequest): AccessDecision | Promise<AccessDecision> {
    // A request without a token causes no I/O.
    if (request.credentials === undefined) return this.#decideBy(this.#noTokens, request);
    const check = this.#file.check();
    if (check === undefined) return this.#decideBy(this.#file.value, request);
    return check.then(() => this.#decideBy(this.#file.value, request));
  }

  #decideBy(tokens: TokenSet, request: AccessRequest): AccessDecision {
    // As in a set with such a token: these pages show the artifacts of all scopes.
    if (this.#hasScopes && tokens === this.#noTokens && request.protocol === OPERATOR_PROTOCOL) return 'none';
    return tokens.decide(request);
  }

  load(): Promise<void> {
    return this.#file.load();
  }

  reload(): Promise<void> {
    return this.#file.reload();
  }

  #parse(content: FileContent): TokenSet {
    const { complete, incompleteLine } = splitCompleteLines(content.text);
    const lines = parseTokenLines(complete, this.#path, this.#options.protocols);
    const tokens = new TokenSet(
      lines.map(({ entry }) => entry),
      this.#options.anonymous,
    );
    this.#hasScopes ||= tokens.hasScopes;
    logAccess('%s: loaded %d tokens', this.#path, tokens.size);
    if (incompleteLine !== undefined) {
      this.#warn(`${this.#path}:${incompleteLine}: the last line is not used, because it does not end with a newline`);
    }
    this.#warnAbout(content, lines);
    return tokens;
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
}

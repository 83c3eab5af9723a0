import { resolve } from 'node:path';
import type { OptionCheck } from '../contract/validation.js';
import { ChangingFile, type FileContent } from './changing-file.js';
import { assertHiddenOptions, hiddenOption } from './hidden-options.js';
import { logAccess } from './log.js';
import type { AccessLevel, AccessPolicy, AccessRequest } from './policy.js';
import { parseTokenLines, type TokenLine } from './token-lines.js';
import { MIN_TOKEN_LENGTH, TokenSet } from './token-set.js';
import { ANONYMOUS } from './token-syntax.js';

/** The file is looked at no more often than this. */
const CHECK_INTERVAL_MS = 1000;

/** What {@link tokenFile} takes. */
export interface TokenFileOptions {
  /** What everybody may do, without a token or with one that is not known. Default: `'none'`. */
  readonly anonymous?: AccessLevel | undefined;
  /**
   * How long the last good tokens stay in force, in milliseconds, from when it is noticed that the file is gone, cannot be
   * read, or has a bad line. Then no token is good until the file is. 0: at once; Infinity: for as long as it takes.
   * Default: 600,000, ten minutes.
   */
  readonly maxStaleMs?: number | undefined;
}

/** Ten minutes: long enough to mend a slip, and a token that was to be taken back is not good for ever. */
export const DEFAULT_MAX_STALE_MS = 600_000;

/**
 * A policy of the tokens in a file, a line for each (see `parseTokenLines`). A request with a token looks whether the file
 * has changed, when nobody has for a second, and waits for that: a change holds from a second after it on. There is no
 * timer and no watcher, and nothing to close. A file without tokens is good: nobody has one any more.
 *
 * While the file is not good, the last good tokens stay in force for `maxStaleMs`. `DEBUG=hotblob:access` says so, once for
 * each change, and has a line for a file that others may read or write, and for tokens that are short. Replace the file by
 * rename: one that is written in place may be read when half of it is there.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`, with path and line and never a token, for a file that is not good
 */
export function tokenFile(path: string, options: TokenFileOptions = {}): Promise<AccessPolicy> {
  return openTokenFile(path, options, () => performance.now());
}

/** As {@link tokenFile}. `now` is in milliseconds and never goes back. */
export async function openTokenFile(path: string, options: TokenFileOptions, now: () => number): Promise<AccessPolicy> {
  if (typeof path !== 'string' || path === '') throw hiddenOption('path', 'the path of a file', path);
  assertHiddenOptions('', options, { anonymous: ANONYMOUS, maxStaleMs: STALE });
  const file = new TokenFile(resolve(path), options, now);
  await file.load();
  return (request) => file.levelOf(request);
}

const STALE: OptionCheck = {
  expected: 'milliseconds from 0',
  accepts: (value) => typeof value === 'number' && value >= 0,
};

class TokenFile {
  readonly #path: string;
  readonly #file: ChangingFile;
  readonly #anonymous: AccessLevel | undefined;
  readonly #maxStaleMs: number;
  readonly #now: () => number;
  /** What is in force when no token is. */
  readonly #nobody: TokenSet;
  #inForce: TokenSet;
  #checkedAt = 0;
  #checking: Promise<void> | undefined;
  /** What is wrong with the file, and since when it has not been good. */
  #trouble: { readonly message: string; readonly since: number } | undefined;

  constructor(path: string, { anonymous, maxStaleMs }: TokenFileOptions, now: () => number) {
    this.#path = path;
    this.#file = new ChangingFile(path);
    this.#anonymous = anonymous;
    this.#maxStaleMs = maxStaleMs ?? DEFAULT_MAX_STALE_MS;
    this.#now = now;
    this.#nobody = new TokenSet([], anonymous);
    this.#inForce = this.#nobody;
  }

  levelOf(request: AccessRequest): AccessLevel | Promise<AccessLevel> {
    // Who shows no token causes no I/O.
    if (request.credentials === undefined) return this.#nobody.levelOf(request);
    if (this.#checking === undefined) {
      if (this.#now() - this.#checkedAt < CHECK_INTERVAL_MS) return this.#inForce.levelOf(request);
      this.#checking = this.#check();
    }
    return this.#checking.then(() => this.#inForce.levelOf(request));
  }

  /**
   * Puts in force what the file holds, where that has changed.
   *
   * @throws HotblobError for a file that is not good; what is in force stays
   */
  async load(): Promise<void> {
    // Before the look: what changes behind it is for the next one.
    this.#checkedAt = this.#now();
    const content = await this.#file.readIfChanged();
    if (content === undefined) return;
    const lines = parseTokenLines(content.text, this.#path);
    this.#inForce = new TokenSet(
      lines.map(({ entry }) => entry),
      this.#anonymous,
    );
    this.#trouble = undefined;
    logAccess('%s: %d tokens are in force', this.#path, this.#inForce.size);
    this.#warn(content, lines);
  }

  /** Never rejects: the requests of a moment wait for it. */
  async #check(): Promise<void> {
    try {
      await this.load();
    } catch (error) {
      this.#note(error);
    }
    this.#expire();
    this.#checking = undefined;
  }

  #note(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    const before = this.#trouble;
    this.#trouble = { message, since: before?.since ?? this.#now() };
    if (message !== before?.message) logAccess('%s; until it is good, what was in force stays for a while', message);
  }

  #expire(): void {
    if (this.#trouble === undefined || this.#inForce === this.#nobody) return;
    if (this.#now() - this.#trouble.since < this.#maxStaleMs) return;
    this.#inForce = this.#nobody;
    logAccess('%s: not good for %d ms: no token is in force', this.#path, this.#maxStaleMs);
  }

  #warn({ mode }: FileContent, lines: readonly TokenLine[]): void {
    // Windows has no such bits.
    if ((mode & 0o077) !== 0 && process.platform !== 'win32') {
      logAccess('%s: others may use it (mode %s)', this.#path, mode.toString(8));
    }
    for (const { line, entry } of lines) {
      if (entry.token.length >= MIN_TOKEN_LENGTH) continue;
      logAccess('%s:%d: a token of fewer than %d characters', this.#path, line, MIN_TOKEN_LENGTH);
    }
  }
}

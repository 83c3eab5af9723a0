import { HotblobError } from '../contract/errors.js';
import type { OptionCheck } from '../contract/validation.js';
import { DEFAULT_SCOPE, SCOPE_NAME } from '../keys/scope.js';
import { typeNameOf } from './hidden-options.js';

/** Access level. Each level includes the previous ones. `write` allows uploads and deletes. */
export type AccessLevel = 'none' | 'read' | 'write';

const LEVELS: readonly AccessLevel[] = ['none', 'read', 'write'];

/** Result of an access policy that says more than a level. */
export interface AccessGrant {
  /** Access level. */
  readonly level: AccessLevel;
  /**
   * Scope that uploads are stored in, and that deletions apply to: one or more segments of letters, digits and `-._~%+:@=`,
   * joined by `/`. Percent-encode what comes from elsewhere, such as the name of a branch. Default: `'default'`, the scope of
   * clients for which the policy returns only a level.
   */
  readonly scope?: string | undefined;
  /**
   * Scopes in which a read looks for an artifact, in order, at most eight. The client's own scope is always one of them: the last,
   * unless the list contains it. Default: only the own scope.
   */
  readonly reads?: readonly string[] | undefined;
  /**
   * Whether an upload replaces an artifact of the own scope. If false, the first upload of a key is kept, and the client can
   * delete nothing. Default: the option `overwrite` of the handler.
   */
  readonly overwrite?: boolean | undefined;
  /**
   * Name of the client, such as the `sub` claim of its token. It is stored with the artifacts that the client uploads, and shown to
   * operators. Never sent to clients. Default: none.
   */
  readonly subject?: string | undefined;
}

/** Maximum number of scopes in which a read looks for an artifact. Each scope without it costs a lookup in the store. */
export const MAX_SCOPES = 8;

/** Maximum length of {@link AccessGrant.subject} in characters. */
const MAX_SUBJECT_LENGTH = 256;

/** Check of the name of a client. It is printed in lines and stored in headers of objects. */
export const SUBJECT: OptionCheck = {
  expected: 'well-formed text that is not empty and has no control characters',
  accepts: (value) => typeof value === 'string' && /^[^\p{Cc}\p{Cs}]+$/u.test(value),
};

/** Valid {@link AccessGrant}. A policy that creates its grants in advance saves their check for each request. */
export class CheckedGrant implements AccessGrant {
  readonly level: AccessLevel;
  readonly scope: string;
  readonly reads: readonly string[];
  /** Scopes in which a read looks for an artifact, in order: `reads` and the own scope. */
  readonly scopes: readonly string[];
  readonly overwrite: boolean | undefined;
  readonly subject: string | undefined;
  /** Text that is the same for grants with the same scopes. A comma is not part of a scope. */
  readonly view: string;
  /** Whether the client is restricted to the default scope, like one for which a policy returns only a level. */
  readonly isUnscoped: boolean;
  /** Whether the grant says no more than its level. */
  readonly isPlain: boolean;

  /** @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an invalid property */
  constructor({ level, scope = DEFAULT_SCOPE, reads = [], overwrite, subject }: AccessGrant) {
    if (!LEVELS.includes(level)) throw invalidGrant('level', "'none', 'read' or 'write'", level);
    if (!SCOPE_NAME.accepts(scope)) throw invalidGrant('scope', SCOPE_NAME.expected, scope);
    if (!Array.isArray(reads)) throw invalidGrant('reads', 'an array of names of scopes', reads);
    for (const [index, name] of reads.entries()) {
      if (!SCOPE_NAME.accepts(name)) throw invalidGrant(`reads[${index}]`, SCOPE_NAME.expected, name);
    }
    if (overwrite !== undefined && typeof overwrite !== 'boolean') {
      throw invalidGrant('overwrite', 'true or false', overwrite);
    }
    if (!(subject === undefined || SUBJECT.accepts(subject))) throw invalidGrant('subject', SUBJECT.expected, subject);
    this.level = level;
    this.scope = scope;
    this.reads = Object.freeze([...reads]);
    // The own scope is added at the end. A scope that occurs twice is looked up once.
    this.scopes = Object.freeze([...new Set([...reads, scope])]);
    if (this.scopes.length > MAX_SCOPES) {
      throw invalidGrant('reads', `at most ${MAX_SCOPES} scopes with the own scope`, reads);
    }
    this.view = [scope, ...this.scopes].join(',');
    this.overwrite = overwrite;
    // A character is not divided: half of it has no encoding in UTF-8.
    this.subject = subject?.slice(0, MAX_SUBJECT_LENGTH).replace(/[\ud800-\udbff]$/, '');
    this.isUnscoped = scope === DEFAULT_SCOPE && this.scopes.length === 1;
    this.isPlain = this.isUnscoped && overwrite === undefined && subject === undefined;
    // A policy that passes on the grant of another one, and changes it, would change it for all clients with this token.
    Object.freeze(this);
  }
}

/** Returns whether `level` includes `required`. */
export function includes(level: AccessLevel, required: AccessLevel): boolean {
  return LEVELS.indexOf(level) >= LEVELS.indexOf(required);
}

/** Returns whether a value, which an access policy may have returned, is an access level. */
export function isLevel(value: unknown): value is AccessLevel {
  return LEVELS.some((level) => level === value);
}

/** The values of a grant may contain a token by mistake, so the message does not show them. */
function invalidGrant(name: string, expected: string, received: unknown): HotblobError {
  const message = `access: ${name}: expected the policy to return ${expected}, received ${typeNameOf(received)}`;
  return new HotblobError('ERR_HOTBLOB_INVALID_OPTION', message);
}

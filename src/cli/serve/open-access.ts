import { anyAccess } from '../../access/any-access.js';
import type { AccessLevel } from '../../access/grant.js';
import { isLikeJwt } from '../../access/oidc/jwt.js';
import { type OidcFilePolicy, oidcFile } from '../../access/oidc/oidc-file.js';
import type { AccessPolicy } from '../../access/policy.js';
import { staticTokens } from '../../access/static-tokens.js';
import { type TokenFilePolicy, tokenFile } from '../../access/token-file.js';
import { parseTokenLines } from '../../access/token-lines.js';
import { errnoCode } from '../../contract/errors.js';
import { messageOf } from '../../util/report-event.js';
import { CommandError } from '../command.js';

/** Environment variable of `--tokens`. */
export const TOKENS_VARIABLE = 'HOTBLOB_TOKENS';

/** Codes of errors for a text that is not the path of a file. */
const NO_FILE: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'ENAMETOOLONG']);

/** Files that decide who may use the cache. At least one is given, or `tokenLines`. */
export interface AccessFiles {
  /** Value of `--tokens`. */
  readonly tokens: string | undefined;
  /** Whether `tokens` comes from the environment variable, which may contain a misspelt line instead of a path. */
  readonly isTokensVariable?: boolean | undefined;
  /** Lines of a token file in the environment variable of `--tokens`. */
  readonly tokenLines?: string | undefined;
  /** Value of `--oidc`. */
  readonly oidc: string | undefined;
  /** Value of `--anonymous`. */
  readonly anonymous: AccessLevel | undefined;
}

/** Access policy of `hotblob serve`. */
export interface ServedAccess {
  readonly policy: AccessPolicy;
  /** Policy of the file of `--oidc`. */
  readonly oidc: OidcFilePolicy | undefined;
  /** Reads the files again, and fetches the keys of the issuers. Problems are reported as warnings. Never rejects. */
  reload(): Promise<void>;
}

/**
 * Reads the files.
 *
 * @param warn writes a line about a problem that does not keep the server from starting
 * @throws CommandError if a file cannot be used
 */
export async function openAccess(files: AccessFiles, warn: (line: string) => void): Promise<ServedAccess> {
  const { anonymous, tokenLines } = files;
  // Combined policies have no anonymous level of their own: the first one would decide for all clients.
  const own = files.oidc === undefined ? anonymous : 'none';
  const file = files.tokens === undefined ? undefined : await openTokens(files.tokens, files, own, warn);
  const tokens = tokenLines === undefined ? file : lineTokens(tokenLines, own);
  const oidc = files.oidc === undefined ? undefined : await openOidc(files.oidc, warn);
  return {
    policy: combine(tokens, oidc, anonymous),
    oidc,
    async reload() {
      await Promise.all([file?.reload(), oidc?.reload()]);
    },
  };
}

/**
 * A token is looked up in the file of `--tokens` first, so that a rule about the client's certificate does not replace it. A JWT is
 * first verified, because it is hardly ever in the file: comparing it with the tokens there would only cost time.
 */
function combine(
  tokens: AccessPolicy | undefined,
  oidc: OidcFilePolicy | undefined,
  anonymous: AccessLevel | undefined,
): AccessPolicy {
  if (tokens === undefined) return anyAccess(oidc === undefined ? [] : [oidc], { anonymous });
  if (oidc === undefined) return tokens;
  const tokensFirst = anyAccess([tokens, oidc], { anonymous });
  const jwtFirst = anyAccess([oidc, tokens], { anonymous });
  return (request) => (isLikeJwt(request.credentials?.token ?? '') ? jwtFirst(request) : tokensFirst(request));
}

/** @throws CommandError for an invalid line. The message does not contain the line */
function lineTokens(text: string, anonymous: AccessLevel | undefined): AccessPolicy {
  try {
    const lines = parseTokenLines(text, TOKENS_VARIABLE);
    return staticTokens(
      lines.map(({ entry }) => entry),
      { anonymous },
    );
  } catch (error) {
    throw new CommandError(messageOf(error));
  }
}

async function openTokens(
  file: string,
  { isTokensVariable = false }: AccessFiles,
  anonymous: AccessLevel | undefined,
  onWarning: (line: string) => void,
): Promise<TokenFilePolicy> {
  try {
    return await tokenFile(file, { anonymous, onWarning });
  } catch (error) {
    // A token itself is a frequent mistake.
    const code = error instanceof Error ? errnoCode(error.cause) : undefined;
    if (isTokensVariable && code !== undefined && NO_FILE.has(code)) {
      const expected = "the path of a file, or lines such as 'write TOKEN'";
      throw new CommandError(`${TOKENS_VARIABLE}: expected ${expected}; there is no such file (value not shown)`);
    }
    const isMissing = code === 'ENOENT';
    const hint = isMissing ? "; expected the path of a file with lines such as 'write TOKEN'" : '';
    throw new CommandError(`--tokens: ${messageOf(error)}${hint}`);
  }
}

async function openOidc(file: string, onWarning: (line: string) => void): Promise<OidcFilePolicy> {
  try {
    return await oidcFile(file, { onWarning });
  } catch (error) {
    throw new CommandError(`--oidc: ${messageOf(error)}`);
  }
}

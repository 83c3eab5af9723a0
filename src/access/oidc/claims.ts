/** Claims of a token: the JSON object that the issuer has signed. */
export type Claims = Readonly<Record<string, unknown>>;

/**
 * Returns the value of a claim, or `undefined`. A claim with exactly this name comes first: names may contain dots and
 * slashes, such as `oidc.circleci.com/project-id`. Otherwise the name is a path into nested objects, separated by dots.
 * If it can be divided in several ways, the longest first name is used.
 */
export function claimOf(claims: Claims, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name];
  for (let dot = name.lastIndexOf('.'); dot > 0; dot = name.lastIndexOf('.', dot - 1)) {
    const outer = name.slice(0, dot);
    if (!Object.hasOwn(claims, outer)) continue;
    const value = claims[outer];
    return isClaims(value) ? claimOf(value, name.slice(dot + 1)) : undefined;
  }
  return undefined;
}

/** Returns the texts that a pattern is compared with: of an array, those of its elements; of null and objects, none. */
export function textsOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.flatMap(toTexts) : toTexts(value);
}

/** Returns the text of a claim that has exactly one value. Otherwise, and for an empty text, returns `undefined`. */
export function singleTextOf(value: unknown): string | undefined {
  return toTexts(value)[0] || undefined;
}

export function isClaims(value: unknown): value is Claims {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** JSON numbers that JavaScript cannot represent exactly have no text, because two of them could have the same. */
function toTexts(value: unknown): readonly string[] {
  if (typeof value === 'string') return [value];
  return typeof value === 'boolean' || Number.isSafeInteger(value) ? [String(value)] : [];
}

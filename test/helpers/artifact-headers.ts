/** Headers by which a browser runs nothing of an artifact of a store. A 304 has them, too. */
export const ISOLATION = {
  'content-security-policy': "sandbox; default-src 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'x-content-type-options': 'nosniff',
} as const;

/** Headers by which a browser downloads an artifact of a store. */
export const DOWNLOAD = { ...ISOLATION, 'content-disposition': 'attachment' } as const;

/** Headers of responses that are not artifacts. */
export const REPLY = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'x-content-type-options': 'nosniff',
} as const;

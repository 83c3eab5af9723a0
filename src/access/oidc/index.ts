export { type OidcPolicy, oidcAccess } from './oidc-access.js';
export { type OidcFileOptions, type OidcFilePolicy, oidcFile } from './oidc-file.js';
export type { OidcIssuer, OidcOptions, OidcRule, Patterns } from './options.js';

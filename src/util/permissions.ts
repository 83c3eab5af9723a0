/** Mode bits of created files and directories. The umask of the process can only remove bits. */
export interface Permissions {
  readonly directory: number;
  readonly file: number;
}

/** Access for the user of the process only. */
export const PRIVATE: Permissions = { directory: 0o700, file: 0o600 };
const GROUP: Permissions = { directory: 0o770, file: 0o660 };

/** Returns the permissions of what a store creates. */
export function permissionsFor(groupAccess: boolean | undefined): Permissions {
  return groupAccess ? GROUP : PRIVATE;
}

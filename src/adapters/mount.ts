import type { OptionCheck } from '../contract/validation.js';

/** Check of an option `mountPath`. */
export const MOUNT_PATH: OptionCheck = {
  expected: 'a path that starts with "/"',
  accepts: (value) => typeof value === 'string' && value.startsWith('/'),
};

/**
 * Returns a function that removes the mount path from a URL, for frameworks that do not. It removes as many segments as `mountPath`
 * has, so that a mount path may have parameters: `/:team/cache`.
 */
export function mountPathRemover(mountPath: string): (url: string) => string {
  const segments = mountPath.split('/').filter((segment) => segment !== '').length;
  if (segments === 0) return (url) => url;
  // A framework may be configured to treat several slashes as one.
  const mount = new RegExp(`^(?:/+[^/?#]*){${segments}}`);
  return (url) => {
    const rest = url.replace(mount, '');
    return rest.startsWith('/') ? rest : `/${rest}`;
  };
}

/** Returns the path and query of an absolute URL. `new URL()` removes dot segments, as routers of the Fetch API do. */
export function targetOf(url: string): string {
  const { pathname, search } = new URL(url);
  return pathname + search;
}

/**
 * Returns a function that removes the mount path from a URL, for frameworks that do not remove it. The function removes
 * as many segments as `mountPath` has, so a mount path may have parameters, as in `/:team/cache`.
 */
export function mountPathRemover(mountPath: string): (url: string) => string {
  const segments = mountPath.split('/').filter((segment) => segment !== '').length;
  if (segments === 0) return (url) => url;
  // A framework may be configured to treat several slashes as one slash.
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

/**
 * Returns a function that removes `mountPath` from URLs, for hosts without a router. For a URL that is not below
 * `mountPath`, the function returns undefined. In `mountPath`, a segment that starts with a colon matches any segment,
 * as in `/:team/cache`.
 */
export function matchMount(mountPath: string): (url: string) => string | undefined {
  const segments = mountPath.split('/').filter((segment) => segment !== '');
  if (segments.length === 0) return (url) => url;
  const patterns = segments.map((segment) => (segment.startsWith(':') ? '[^/?#]+' : escapeRegExp(segment)));
  const mount = new RegExp(`^/${patterns.join('/')}(?![^/?#])`);
  return (url) => {
    const match = mount.exec(url);
    if (match === null) return undefined;
    const rest = url.slice(match[0].length);
    return rest.startsWith('/') ? rest : `/${rest}`;
  };
}

function escapeRegExp(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}

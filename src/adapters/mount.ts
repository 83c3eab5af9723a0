/**
 * What is left of a request's URL below a mount, for frameworks that leave it whole. As many segments are taken from its
 * path as `mountPath` has, so that a mount may have parameters: `/:team/cache`.
 */
export function belowMount(mountPath: string): (url: string) => string {
  const segments = mountPath.split('/').filter((segment) => segment !== '').length;
  if (segments === 0) return (url) => url;
  // A framework may have been told to take several slashes for one.
  const mount = new RegExp(`^(?:/+[^/?#]*){${segments}}`);
  return (url) => {
    const rest = url.replace(mount, '');
    return rest.startsWith('/') ? rest : `/${rest}`;
  };
}

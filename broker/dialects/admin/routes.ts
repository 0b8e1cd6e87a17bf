// The table of the admin API: every route there is.
import { clientRoutes } from './clients.ts';
import { clusterKeyRoutes } from './cluster-keys.ts';
import { clusterRoutes } from './clusters.ts';
import { decisionRoutes } from './decisions.ts';
import { keyRoutes } from './keys.ts';
import { liveRoutes } from './live.ts';
import { openApiRoute } from './openapi-route.ts';
import { roleRoutes } from './roles.ts';
import type { AdminRoute } from './route.ts';
import { staticTokenRoutes } from './static-tokens.ts';
import { tokenRoutes } from './tokens.ts';
import { whoamiRoutes } from './whoami.ts';

export const ROUTES: readonly AdminRoute[] = [
  ...roleRoutes,
  ...staticTokenRoutes,
  ...tokenRoutes,
  ...clientRoutes,
  ...clusterRoutes,
  ...clusterKeyRoutes,
  ...liveRoutes,
  ...decisionRoutes,
  ...keyRoutes,
  ...whoamiRoutes,
  openApiRoute,
];

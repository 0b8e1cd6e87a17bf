// The OpenAPI 3.1 document, made of the table of routes and of the very schemas that check requests.
import {
  createDocument,
  type ZodOpenApiObject,
  type ZodOpenApiOperationObject,
  type ZodOpenApiPathsObject,
  type ZodOpenApiResponseObject,
  type ZodOpenApiResponsesObject,
} from 'zod-openapi';
import { REASONS } from '../../errors.ts';
import { KUBE_RESOURCES, toAccess, toPolicy } from '../../policies.ts';
import { ADMIN_ERRORS, type AdminReason } from './errors.ts';
import type { AdminRoute } from './route.ts';
import { errorView } from './schemas.ts';

const ABOUT = `The admin API of the Coatcheck broker. JSON in UTF-8 only, bodies of at most 256 KiB unless a route says otherwise, unknown members are refused.
Lists are paged by \`limit\` and \`after\`. Who authenticates is let in or not before anything is validated or looked up.`;

/** Whatever a route does, these may come of it. */
const ALWAYS: readonly AdminReason[] = ['document_invalid', 'internal'];
const OF_CALLERS: readonly AdminReason[] = [
  'bearer_invalid',
  'bearer_forbidden',
  'too_many_requests',
  'kube_unavailable',
];
const OF_BODIES: readonly AdminReason[] = ['body_too_large', 'media_type_unsupported'];
const OF_STORES: readonly AdminReason[] = ['store_missing', 'store_unavailable'];

/** The document of these routes. */
export function createOpenApi(routes: readonly AdminRoute[]): ReturnType<typeof createDocument> {
  const paths: ZodOpenApiPathsObject = {};
  for (const route of routes) {
    const method = route.method.toLowerCase() as 'get' | 'post' | 'put' | 'patch' | 'delete';
    paths[route.path] = { ...paths[route.path], [method]: toOperation(route) };
  }
  const document: ZodOpenApiObject = {
    openapi: '3.1.0',
    info: { title: 'Coatcheck admin API', version: 'v1', description: ABOUT },
    servers: [{ url: '/' }],
    security: [{ bearer: [] }],
    components: {
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          description:
            "A token of the broker, or a ServiceAccount token of its own cluster for the broker's audience",
        },
      },
    },
    paths,
  };
  return createDocument(document);
}

function toOperation(route: AdminRoute): ZodOpenApiOperationObject {
  const { operation, summary, description, needs, params, query, body, answers } = route;
  const who = describeNeeds(route);
  return {
    operationId: operation,
    summary,
    description: [description, who].filter((text) => text !== undefined).join('\n\n'),
    tags: [route.path.split('/')[3] ?? 'api'],
    ...(needs === 'public' && { security: [] }),
    ...((params ?? query) && {
      requestParams: { ...(params && { path: params }), ...(query && { query }) },
    }),
    ...(route.takesIfMatch && {
      parameters: [
        {
          name: 'If-Match',
          in: 'header' as const,
          required: false,
          description: 'The version that is replaced, in quotes',
          schema: { type: 'string' as const, pattern: '^"[0-9]{1,9}"$' },
        },
      ],
    }),
    ...(body && {
      requestBody: { required: true, content: { 'application/json': { schema: body } } },
    }),
    responses: {
      ...toResponses(
        Object.entries(answers).map(([status, answer]) => [
          status,
          {
            description: answer.description,
            content: { 'application/json': { schema: answer.schema } },
          },
        ]),
      ),
      ...toRefusals(route),
    },
  };
}

/** The reasons of a route, in the order of their statuses. */
export function listReasons(route: AdminRoute): readonly AdminReason[] {
  const reasons = new Set<AdminReason>([
    ...ALWAYS,
    ...(route.needs === 'public' ? [] : OF_CALLERS),
    ...(route.body ? OF_BODIES : []),
    ...(route.needsStore ? OF_STORES : []),
    ...(route.audited ? (['audit_unavailable'] as const) : []),
    ...(route.refusals ?? []),
  ]);
  return [...reasons].sort((a, b) => ADMIN_ERRORS[a].status - ADMIN_ERRORS[b].status);
}

function toRefusals(route: AdminRoute): ZodOpenApiResponsesObject {
  const byStatus = Map.groupBy(listReasons(route), (reason) => ADMIN_ERRORS[reason].status);
  return toResponses(
    [...byStatus].map(([status, reasons]) => [
      status,
      {
        description: [...new Set(reasons.map((reason) => REASONS[reason].group))]
          .map((group) => `\`${group}\``)
          .join(', '),
        content: { 'application/json': { schema: errorView } },
      },
    ]),
  );
}

/** Three digits each, as the type wants it. */
function toResponses(
  entries: readonly (readonly [number | string, ZodOpenApiResponseObject])[],
): ZodOpenApiResponsesObject {
  return Object.fromEntries(entries) as ZodOpenApiResponsesObject;
}

/** Who may, in one sentence. */
export function describeNeeds({ needs }: AdminRoute): string {
  if (needs === 'public') return 'Everybody.';
  if (needs === 'caller') return 'Whoever authenticates.';
  if (needs === 'own') return 'Whoever shows a token of its own that has the policy `default`.';
  if (needs === 'controller')
    return 'The controller of that cluster (`controller` of its entry in the clusters table), or policy `root`.';
  const { resource, verb, namespaced } = needs;
  const policy = toPolicy(resource, toAccess(verb));
  const where = namespaced ? ', cluster-wide or in the namespace of the query' : '';
  return `Policy \`${policy}\`, or RBAC \`${verb}\` on \`${KUBE_RESOURCES[resource]}\`${where}.`;
}

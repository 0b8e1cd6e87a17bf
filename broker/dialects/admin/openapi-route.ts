// `GET /api/openapi.json`: public, like the documents of discovery; it says nothing about this installation. The library
// that makes it is loaded by the first who asks.
import { z } from 'zod';
import { defineRoute } from './route.ts';

export const PATH_OPENAPI = '/api/openapi.json';

export const openApiRoute = defineRoute({
  method: 'GET',
  path: PATH_OPENAPI,
  operation: 'getOpenApi',
  summary: 'This document',
  needs: 'public',
  audited: false,
  needsStore: false,
  answers: {
    200: { description: 'OpenAPI 3.1', schema: z.looseObject({ openapi: z.string() }) },
  },
  run: async () => {
    const [{ createOpenApi }, { ROUTES }] = await Promise.all([
      import('./openapi.ts'),
      import('./routes.ts'),
    ]);
    return { body: createOpenApi(ROUTES) };
  },
});

// The OpenAPI document against the table of routes and against itself.
import { expect } from 'chai';
import type { z } from 'zod';
import { createOpenApi } from '../../../../broker/dialects/admin/openapi.ts';
import { ROUTES } from '../../../../broker/dialects/admin/routes.ts';
import * as schemas from '../../../../broker/dialects/admin/schemas.ts';
import { checkValue } from '../../../../common/documents.ts';

type Json = Readonly<Record<string, unknown>>;
const document = JSON.parse(JSON.stringify(createOpenApi(ROUTES))) as {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Json>>>>;
};

function walk(value: unknown, visit: (object: Json) => void): void {
  if (typeof value !== 'object' || value === null) return;
  if (!Array.isArray(value)) visit(value as Json);
  for (const member of Object.values(value)) walk(member, visit);
}

function find(ref: string): unknown {
  return ref
    .replace(/^#\//, '')
    .split('/')
    .reduce<unknown>((at, part) => (Object(at) as Json)[part], document);
}

describe('admin API: OpenAPI', () => {
  const described = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );

  it('describes every route and no other', () => {
    expect(document.openapi).to.equal('3.1.0');
    expect(described).to.have.members(ROUTES.map(({ method, path }) => `${method} ${path}`));
  });

  it('names each operation once', () => {
    const names = ROUTES.map(({ operation }) => operation);
    expect(new Set(names).size).to.equal(names.length);
  });

  it('refers to nothing that is not there', () => {
    const refs: string[] = [];
    walk(document, ({ $ref }) => {
      if (typeof $ref === 'string') refs.push($ref);
    });
    expect(refs).not.to.have.length(0);
    for (const ref of refs) expect(find(ref), ref).to.be.an('object');
  });

  it('states every parameter that stands in a path', () => {
    for (const [path, methods] of Object.entries(document.paths)) {
      const wanted = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      for (const { parameters = [] } of Object.values(methods)) {
        const stated = (parameters as Json[]).filter((one) => one.in === 'path');
        expect(
          stated.map(({ name }) => name),
          path,
        ).to.deep.equal(wanted);
        expect(stated.every(({ required }) => required === true)).to.equal(true);
      }
    }
  });

  it('documents 401, 403 and 503 wherever a caller is asked for', () => {
    for (const { needs, method, path } of ROUTES) {
      const responses = Object.keys(
        document.paths[path]?.[method.toLowerCase()]?.responses as object,
      );
      const wanted = needs === 'public' ? [] : ['401', '403', '503'];
      expect(responses, path).to.include.members(['400', '500', ...wanted]);
      if (needs === 'public') expect(responses).not.to.include('401');
    }
  });

  it('has examples that its own schemas accept', () => {
    let examples = 0;
    for (const [name, schema] of Object.entries(schemas)) {
      if (typeof schema !== 'object' || !('meta' in schema)) continue;
      const example = (schema.meta() as { example?: unknown } | undefined)?.example;
      if (example === undefined) continue;
      examples += 1;
      expect(checkValue(schema as z.ZodType, example).ok, name).to.equal(true);
    }
    expect(examples).to.be.greaterThan(8);
  });
});

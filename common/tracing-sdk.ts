// The side of tracing.ts that has OpenTelemetry in it: loaded only where traces are asked for. The SDK reads its standard
// variables itself; what is ours is which spans there are and what they may hold.
import {
  type Attributes,
  context,
  DiagLogLevel,
  diag,
  propagation,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { scrubTokens } from './secret.ts';
import type { ServedRequest, Tracing, TracingOptions } from './tracing.ts';

const STOP_MS = 3000;
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];

/** Starts the SDK of this process: once, because OpenTelemetry's providers belong to the process. */
export function createTracing(options: TracingOptions): Tracing {
  const sdk = new NodeSDK({
    // Of the process's own facts its arguments are one: what is sent is what is listed here.
    resourceDetectors: [{ detect: () => ({ attributes: toResource(options) }) }],
    metricReaders: [],
    logRecordProcessors: [],
  });
  const tell = (text: string, ...more: readonly unknown[]) =>
    options.log.warn(
      { detail: scrubTokens([text, ...more.map(String)].join(' ').slice(0, 500)) },
      'traces: OpenTelemetry reports a problem',
    );
  const silent = () => undefined;
  diag.setLogger(
    { error: tell, warn: tell, info: silent, debug: silent, verbose: silent },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
  sdk.start();
  const tracer = trace.getTracer('coatcheck');
  return {
    isOn: true,
    serve: (served, handle) => {
      const { method = '', headers } = served.request;
      const name = METHODS.includes(method) ? method : '_OTHER';
      const parent = propagation.extract(context.active(), headers);
      const span = tracer.startSpan(
        name,
        { kind: SpanKind.SERVER, attributes: { 'http.request.method': name } },
        parent,
      );
      served.response.once('close', () => endServed(span, name, served));
      context.with(trace.setSpan(parent, span), handle);
    },
    step: (name, run) =>
      // Work in the background is nobody's request: a trace for each look at a file would be noise.
      trace.getActiveSpan() ? tracer.startActiveSpan(name, (span) => runStep(span, run)) : run(),
    stop: async () => {
      const timeout = new AbortController();
      const late = options.clock.sleep(STOP_MS, timeout.signal).catch(() => undefined);
      await Promise.race([sdk.shutdown().catch((error: Error) => tell(error.message)), late]);
      timeout.abort();
    },
  };
}

function endServed(span: Span, method: string, { getFacts }: ServedRequest): void {
  const { route, status, correlationId } = getFacts();
  span.updateName(`${method} ${route}`);
  span.setAttributes({
    'http.route': route,
    'http.response.status_code': status,
    ...(correlationId !== undefined && { 'coatcheck.correlation_id': correlationId }),
  });
  // A refusal is a good answer of ours.
  if (status >= 500) {
    span.setAttribute('error.type', String(status));
    span.setStatus({ code: SpanStatusCode.ERROR });
  }
  span.end();
}

function runStep<T>(span: Span, run: () => T): T {
  let result: T;
  try {
    result = run();
  } catch (error) {
    endFailed(span, error);
    throw error;
  }
  if (!(result instanceof Promise)) {
    span.end();
    return result;
  }
  return result.then(
    (value: unknown) => {
      span.end();
      return value;
    },
    (error: unknown) => {
      endFailed(span, error);
      throw error;
    },
  ) as T;
}

/** By its kind alone: a message may quote what a caller sent. */
function endFailed(span: Span, error: unknown): void {
  const { reason, name } = Object(error) as { reason?: unknown; name?: unknown };
  span.setAttribute('error.type', String(reason ?? name ?? 'unknown'));
  span.setStatus({ code: SpanStatusCode.ERROR });
  span.end();
}

function toResource({ environment, service }: TracingOptions): Attributes {
  const given = (environment.OTEL_RESOURCE_ATTRIBUTES ?? '').split(',').flatMap((pair) => {
    const [name = '', value] = pair.split('=', 2).map((text) => text.trim());
    return name === '' || value === undefined ? [] : [[name, decode(value)] as const];
  });
  const { OTEL_SERVICE_NAME: name } = environment;
  return {
    'service.name': service,
    ...Object.fromEntries(given),
    ...(name && { 'service.name': name }),
  };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

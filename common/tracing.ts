// Traces (OpenTelemetry), which are off unless a standard OTEL_… variable names an exporter: then, and only then, the SDK
// is loaded. Off, a request pays for one function call. No claim, token or path a caller wrote is ever an attribute.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock } from './clock.ts';
import type { Logger } from './log.ts';

/** What is known of a request when it has ended. */
export interface RequestFacts {
  /** One of our own patterns. */
  readonly route: string;
  readonly status: number;
  readonly correlationId?: string;
}

export interface ServedRequest {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly getFacts: () => RequestFacts;
}

export interface Tracing {
  readonly isOn: boolean;
  /** Handles a request within a span of its own; `traceparent` of the caller is its parent (W3C Trace Context). */
  serve(served: ServedRequest, handle: () => void): void;
  /** A step of the request in progress, as a span below it; gives back what `run` gives, or throws what it throws. */
  step<T>(name: string, run: () => T): T;
  /** Sends what is not sent yet, for a few seconds at most. */
  stop(): Promise<void>;
}

export const NO_TRACING: Tracing = {
  isOn: false,
  serve: (_served, handle) => handle(),
  step: (_name, run) => run(),
  stop: () => Promise.resolve(),
};

type Environment = Readonly<Record<string, string | undefined>>;

/** Whether the environment asks for traces, as OpenTelemetry's specification says. */
export function isTracingAsked(environment: Environment): boolean {
  if (environment.OTEL_SDK_DISABLED?.trim().toLowerCase() === 'true') return false;
  const exporter = environment.OTEL_TRACES_EXPORTER?.trim();
  if (exporter) return exporter !== 'none';
  const { OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT } = environment;
  return Boolean(OTEL_EXPORTER_OTLP_ENDPOINT || OTEL_EXPORTER_OTLP_TRACES_ENDPOINT);
}

export interface TracingOptions {
  readonly environment: Environment;
  /** `service.name` unless the environment says another. */
  readonly service: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Loads and starts the SDK where the environment asks for it. */
export async function startTracing(options: TracingOptions): Promise<Tracing> {
  if (!isTracingAsked(options.environment)) return NO_TRACING;
  const { createTracing } = await import('./tracing-sdk.ts');
  return createTracing(options);
}

/** The object with each of its functions as a step `<name> <function>`; as it is where traces are off. */
export function traceCalls<T extends object>(tracing: Tracing, name: string, target: T): T {
  if (!tracing.isOn) return target;
  return new Proxy(target, {
    get: (object, property, receiver) => {
      const member: unknown = Reflect.get(object, property, receiver);
      if (typeof member !== 'function' || typeof property === 'symbol') return member;
      const call = member as (...given: unknown[]) => unknown;
      return (...given: unknown[]) =>
        tracing.step(`${name} ${property}`, () => call.apply(object, given));
    },
  });
}

//! The spans of items, on their way to a collector of OpenTelemetry.

use anyhow::Context;
use distributed::ITEM_SPANS;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

/// What sends them. The last ones are sent when it is dropped.
pub(crate) struct Traces(SdkTracerProvider);

impl Traces {
    pub(crate) fn to(collector: &str) -> anyhow::Result<Traces> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(format!("{}/v1/traces", collector.trim_end_matches('/')))
            .with_protocol(Protocol::HttpJson)
            .build()
            .with_context(|| format!("send traces to {collector}"))?;
        let resource = Resource::builder().with_service_name("manager").build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .build();
        Ok(Traces(provider))
    }

    /// What turns the spans of items, and no others, into those that are sent.
    pub(crate) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let tracer = self.0.tracer("distributed");
        let items = Targets::new().with_target(ITEM_SPANS, Level::DEBUG);
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_filter(items)
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        // A collector that is gone leaves nothing to be done here.
        let _ = self.0.shutdown();
    }
}

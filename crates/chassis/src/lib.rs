//! What every process needs: settings, logs, metrics, trace context, shutdown, health, retry.

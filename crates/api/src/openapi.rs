//! The OpenAPI 3.1 document, written from the table of routes and the types' own schemas.

use crate::{
    Act, AppView, AppsQuery, CreateApp, DaemonView, ErrorEnvelope, Event, EventsQuery, JobAct,
    JobHistoryQuery, JobRun, JobView, LogLine, LogsQuery, Progress, ROUTES, Route, RouteSpec, ScaleApp,
    SendSignal,
};
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

/// What a route takes and gives.
struct Shape {
    query: Option<Schema>,
    body: Option<Schema>,
    /// A JSON value.
    json: Option<Schema>,
    /// One JSON value a line.
    lines: Option<Schema>,
}

/// The shape of each route. A new route does not compile until it has one.
fn shape(route: Route, schemas: &mut SchemaGenerator) -> Shape {
    let none = Shape { query: None, body: None, json: None, lines: None };
    let mut of = |body: fn(&mut SchemaGenerator) -> Schema| Shape {
        body: Some(body(schemas)),
        lines: Some(schemas.subschema_for::<Progress>()),
        ..Shape { query: None, body: None, json: None, lines: None }
    };
    match route {
        Route::CreateApp => of(SchemaGenerator::subschema_for::<CreateApp>),
        Route::ApplyApps => of(SchemaGenerator::subschema_for::<crate::ApplyApps>),
        Route::ScaleApp => of(SchemaGenerator::subschema_for::<ScaleApp>),
        Route::StartApps
        | Route::StopApps
        | Route::RestartApps
        | Route::ReloadApps
        | Route::DeleteApps
        | Route::ResetApps
        | Route::Resurrect => of(SchemaGenerator::subschema_for::<Act>),
        Route::SignalApps => Shape { body: Some(schemas.subschema_for::<SendSignal>()), ..none },
        Route::ListApps | Route::ShowApps => Shape {
            query: Some(AppsQuery::json_schema(schemas)),
            json: Some(Vec::<AppView>::json_schema(schemas)),
            ..none
        },
        Route::TriggerApps
        | Route::WriteStdin
        | Route::Pm2Processes
        | Route::FlushLogs
        | Route::ReopenLogs => pm2_shape(route, schemas, none),
        Route::MessageWorker => Shape { body: Some(Schema::from(true)), ..none },
        Route::Logs => Shape {
            query: Some(LogsQuery::json_schema(schemas)),
            lines: Some(schemas.subschema_for::<LogLine>()),
            ..none
        },
        Route::Events => Shape {
            query: Some(EventsQuery::json_schema(schemas)),
            lines: Some(schemas.subschema_for::<Event>()),
            ..none
        },
        // Text, not JSON.
        Route::Metrics => none,
        Route::ShowMetricsServer => {
            Shape { json: Some(schemas.subschema_for::<crate::MetricsServer>()), ..none }
        }
        Route::ConfigureMetrics => Shape {
            body: Some(schemas.subschema_for::<crate::ConfigureMetrics>()),
            json: Some(schemas.subschema_for::<crate::MetricsServer>()),
            ..none
        },
        Route::ShowDaemon => Shape { json: Some(schemas.subschema_for::<DaemonView>()), ..none },
        Route::UpgradeDaemon => Shape {
            body: Some(schemas.subschema_for::<crate::UpgradeDaemon>()),
            json: Some(json_object()),
            ..none
        },
        Route::StateNames
        | Route::ShowState
        | Route::WatchState
        | Route::ChangeState
        | Route::StateLocks
        | Route::StateQueues
        | Route::StateStats
        | Route::BackupState
        | Route::RestoreState
        | Route::ShowStateConfig
        | Route::ConfigureState => state_shape(route, schemas, none),
        Route::StopDaemon => Shape { json: Some(json_object()), ..none },
        Route::ShowQueue => Shape { json: Some(schemas.subschema_for::<crate::StateQueue>()), ..none },
        Route::QueueJobs => Shape {
            query: Some(crate::QueueJobsQuery::json_schema(schemas)),
            json: Some(Vec::<crate::QueueJob>::json_schema(schemas)),
            ..none
        },
        Route::ActOnQueue => Shape {
            body: Some(schemas.subschema_for::<crate::QueueAct>()),
            json: Some(schemas.subschema_for::<crate::QueueChanged>()),
            ..none
        },
        Route::ShowHosts => Shape { json: Some(schemas.subschema_for::<crate::HostsView>()), ..none },
        Route::ConfigureHosts => Shape {
            body: Some(schemas.subschema_for::<crate::HostsChange>()),
            json: Some(schemas.subschema_for::<crate::HostsView>()),
            ..none
        },
        Route::ListJobs => Shape { json: Some(Vec::<JobView>::json_schema(schemas)), ..none },
        Route::ShowJob => Shape { json: Some(schemas.subschema_for::<JobView>()), ..none },
        Route::ActOnJob => Shape {
            body: Some(schemas.subschema_for::<JobAct>()),
            json: Some(schemas.subschema_for::<JobView>()),
            ..none
        },
        Route::JobHistory => Shape {
            query: Some(JobHistoryQuery::json_schema(schemas)),
            json: Some(Vec::<JobRun>::json_schema(schemas)),
            ..none
        },
        Route::OpenApi => Shape { json: Some(json_object()), ..none },
    }
}

/// The shapes of the routes of shared state.
fn state_shape(route: Route, schemas: &mut SchemaGenerator, none: Shape) -> Shape {
    let query = matches!(route, Route::ShowState | Route::WatchState)
        .then(|| crate::StateQuery::json_schema(schemas));
    if route == Route::WatchState {
        return Shape { query, lines: Some(schemas.subschema_for::<crate::StateSeen>()), ..none };
    }
    let json = match route {
        Route::StateNames => Vec::<crate::StateName>::json_schema(schemas),
        Route::ShowState => schemas.subschema_for::<crate::StateView>(),
        Route::ChangeState => schemas.subschema_for::<crate::StateChanged>(),
        Route::StateLocks => Vec::<crate::StateLock>::json_schema(schemas),
        Route::StateQueues => Vec::<crate::StateQueue>::json_schema(schemas),
        Route::StateStats => schemas.subschema_for::<crate::StateStats>(),
        Route::ShowStateConfig | Route::ConfigureState => schemas.subschema_for::<crate::StateConfig>(),
        _ => json_object(),
    };
    let body = match route {
        Route::ChangeState => Some(schemas.subschema_for::<crate::ChangeState>()),
        Route::BackupState | Route::RestoreState => Some(schemas.subschema_for::<crate::StateFile>()),
        Route::ConfigureState => Some(schemas.subschema_for::<crate::StateConfig>()),
        _ => None,
    };
    Shape { query, body, json: Some(json), ..none }
}

/// The shapes of the routes that PM2's conventions add.
fn pm2_shape(route: Route, schemas: &mut SchemaGenerator, none: Shape) -> Shape {
    match route {
        Route::TriggerApps => Shape {
            body: Some(schemas.subschema_for::<crate::Trigger>()),
            lines: Some(schemas.subschema_for::<crate::TriggerReply>()),
            ..none
        },
        Route::WriteStdin => Shape { body: Some(schemas.subschema_for::<crate::SendText>()), ..none },
        Route::Pm2Processes => Shape { json: Some(json_list()), ..none },
        _ => none,
    }
}

fn json_list() -> Schema {
    schemars::json_schema!({ "type": "array", "items": { "type": "object" } })
}

fn json_object() -> Schema {
    schemars::json_schema!({ "type": "object" })
}

/// The whole document.
pub fn openapi() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = settings.into_generator();
    let mut paths = Map::new();
    for spec in ROUTES {
        let operation = operation(spec, &mut schemas);
        let entry = paths.entry(spec.path).or_insert_with(|| json!({}));
        entry[spec.method.as_str().to_ascii_lowercase()] = operation;
    }
    let errors = schemas.subschema_for::<ErrorEnvelope>();
    let definitions = schemas.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "skep",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The control protocol of skep: HTTP/1.1 on the Unix socket <home>/skep.sock. \
                Whoever may open the socket may do everything; its mode is 0600.",
        },
        "paths": paths,
        "components": {
            "schemas": definitions,
            "responses": { "Error": {
                "description": "What went wrong, and what to do about it.",
                "content": { "application/json": { "schema": errors } },
            }},
        },
    })
}

fn operation(spec: &RouteSpec, schemas: &mut SchemaGenerator) -> Value {
    let shape = shape(spec.route, schemas);
    let mut parameters = Vec::new();
    if let (Some(open), Some(close)) = (spec.path.find('{'), spec.path.find('}')) {
        let name = &spec.path[open + 1..close];
        let description = match name {
            "target" => {
                "Names, ids, namespaces, /patterns/ or all; several are separated by commas. Each is \
                percent-encoded, its own commas and slashes too."
            }
            "job" => {
                "A job's name, percent-encoded; with its app's in front (`app/job`) where it is not unique."
            }
            _ => "A worker's id.",
        };
        parameters.push(json!({
            "name": name, "in": "path", "required": true, "description": description,
            "schema": { "type": if matches!(name, "target" | "job") { "string" } else { "integer" } },
        }));
    }
    if let Some(query) = shape.query {
        let properties = query.get("properties").and_then(Value::as_object);
        for (name, schema) in properties.into_iter().flatten() {
            parameters.push(json!({ "name": name, "in": "query", "required": false, "schema": schema }));
        }
    }
    let mut content = Map::new();
    if let Some(schema) = shape.json {
        content.insert("application/json".into(), json!({ "schema": schema }));
    }
    if let Some(schema) = shape.lines {
        content.insert("application/x-ndjson".into(), json!({ "schema": schema }));
    }
    let success = if content.is_empty() { "204" } else { "200" };
    let mut operation = json!({
        "operationId": format!("{:?}", spec.route),
        "summary": spec.summary,
        "parameters": parameters,
        "responses": {
            success: { "description": "Accepted or done.", "content": content },
            "default": { "$ref": "#/components/responses/Error" },
        },
    });
    if let Some(body) = shape.body {
        operation["requestBody"] = json!({ "content": { "application/json": { "schema": body } } });
    }
    operation
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn the_document_knows_every_route_and_no_other() {
        let document = openapi();
        let paths = document["paths"].as_object().unwrap();
        for spec in ROUTES {
            let operation = &paths[spec.path][spec.method.as_str().to_ascii_lowercase()];
            assert_eq!(operation["summary"], spec.summary, "{} {}", spec.method, spec.path);
        }
        let operations: usize = paths.values().map(|path| path.as_object().unwrap().len()).sum();
        assert_eq!(operations, ROUTES.len());
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = openapi();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20, "only {} references", found.len());
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
    }

    #[test]
    fn a_fields_doc_comment_is_its_description() {
        let document = openapi();
        let description = document.pointer("/components/schemas/AppSpec/properties/kill_timeout/description");
        let text = description.unwrap().as_str().unwrap();
        assert!(text.contains("killed") && text.contains("1600 ms"), "{text}");
    }
}

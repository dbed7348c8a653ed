//! A server that has everything that the official suite asks for, written with the official SDK: what the hub
//! loses of it, the suite misses. It says where it listens, and ends with its standard input.
#![allow(clippy::unwrap_used, reason = "it is part of a test")]
#![allow(deprecated, reason = "the suite asks for what the next revision drops")]

use std::{convert::Infallible, sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, CompleteRequestParams,
        CompleteResult, GetPromptRequestParams, GetPromptResponse, GetPromptResult,
        InitializeRequestParams, InitializeResult, ListPromptsResult, ListResourceTemplatesResult,
        ListResourcesResult, ListToolsResult, PaginatedRequestParams, ReadResourceRequestParams,
        ReadResourceResponse, ReadResourceResult, SetLevelRequestParams, SubscribeRequestParams,
        UnsubscribeRequestParams,
    },
    service::RequestContext,
    transport::{
        StreamableHttpServerConfig, StreamableHttpService,
        streamable_http_server::session::local::LocalSessionManager,
    },
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// One red dot.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";
/// Silence.
const WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=";
/// Between two things that a tool says while it works.
const STEP: Duration = Duration::from_millis(50);

/// The server.
#[derive(Clone)]
struct Fixture;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("listening on http://{}/mcp", listener.local_addr().unwrap());
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    let sessions = Arc::new(LocalSessionManager::default());
    let config = StreamableHttpServerConfig::default();
    let service = StreamableHttpService::new(|| Ok(Fixture), sessions, config);
    while let Ok((socket, _)) = listener.accept().await {
        let service = service.clone();
        let answer = service_fn(move |request| {
            let service = service.clone();
            async move { Ok::<_, Infallible>(service.handle(request).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new();
        tokio::spawn(connection.serve_connection(TokioIo::new(socket), answer));
    }
}

/// What is written here as JSON, as the SDK's type: it says so if it would lose something of it.
fn typed<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn unknown(what: &str, name: &str) -> ErrorData {
    ErrorData::invalid_params(format!("there is no {what} {name}"), None)
}

fn said(text: impl Into<String>) -> Value {
    json!({ "content": [{ "type": "text", "text": text.into() }] })
}

fn tools() -> Value {
    let plain = json!({ "type": "object", "properties": {} });
    let with = |name: &str, about: &str| {
        json!({
            "type": "object",
            "properties": { name: { "type": "string", "description": about } },
            "required": [name],
        })
    };
    let tool = |name: &str, schema: &Value| {
        let description = format!("Does what the suite wants of {name}");
        json!({ "name": name, "description": description, "inputSchema": schema })
    };
    let mut tools: Vec<Value> = [
        "test_simple_text",
        "test_image_content",
        "test_audio_content",
        "test_embedded_resource",
        "test_multiple_content_types",
        "test_tool_with_logging",
        "test_error_handling",
        "test_tool_with_progress",
        "test_elicitation_sep1034_defaults",
        "test_elicitation_sep1330_enums",
        "test_reconnection",
    ]
    .map(|name| tool(name, &plain))
    .to_vec();
    tools.push(tool(
        "test_sampling",
        &with("prompt", "What the model is asked"),
    ));
    tools.push(tool(
        "test_elicitation",
        &with("message", "What the user is asked"),
    ));
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": { "street": { "type": "string" }, "city": { "type": "string" } },
            },
        },
        "properties": {
            "name": { "type": "string" },
            "address": { "$ref": "#/$defs/address" },
            "contactMethod": { "type": "string", "enum": ["phone", "email"] },
            "phone": { "type": "string" },
            "email": { "type": "string" },
        },
        "allOf": [{ "anyOf": [{ "required": ["phone"] }, { "required": ["email"] }] }],
        "if": { "properties": { "contactMethod": { "const": "phone" } }, "required": ["contactMethod"] },
        "then": { "required": ["phone"] },
        "else": { "required": ["email"] },
        "additionalProperties": false,
    });
    tools.push(tool("json_schema_2020_12_tool", &schema));
    json!({ "tools": tools })
}

/// The form whose fields have something in them already.
fn filled_in() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": { "type": "string", "default": "John Doe" },
            "age": { "type": "integer", "default": 30 },
            "score": { "type": "number", "default": 95.5 },
            "status": {
                "type": "string",
                "enum": ["active", "inactive", "pending"],
                "default": "active",
            },
            "verified": { "type": "boolean", "default": true },
        },
    })
}

/// The form with every way to choose.
fn choices() -> Value {
    let titled = |word: &str| {
        let choice =
            |n: u32| json!({ "const": format!("value{n}"), "title": format!("{word} {n}") });
        json!([choice(1), choice(2), choice(3)])
    };
    let plain = json!(["option1", "option2", "option3"]);
    json!({
        "type": "object",
        "properties": {
            "untitledSingle": { "type": "string", "enum": plain },
            "titledSingle": { "type": "string", "oneOf": titled("Option") },
            "legacyEnum": {
                "type": "string",
                "enum": ["opt1", "opt2", "opt3"],
                "enumNames": ["Option One", "Option Two", "Option Three"],
            },
            "untitledMulti": {
                "type": "array",
                "items": { "type": "string", "enum": plain },
            },
            "titledMulti": { "type": "array", "items": { "anyOf": titled("Choice") } },
        },
    })
}

async fn asked(context: &RequestContext<RoleServer>, message: &str, schema: Value) -> Value {
    let question = json!({ "mode": "form", "message": message, "requestedSchema": schema });
    match context.peer.create_elicitation(typed(question)).await {
        Ok(answer) => said(format!(
            "action={}, content={}",
            json!(answer.action).as_str().unwrap_or_default(),
            json!(answer.content)
        )),
        Err(error) => failed(&error.to_string()),
    }
}

fn failed(why: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": why }], "isError": true })
}

async fn sampled(context: &RequestContext<RoleServer>, prompt: &str) -> Value {
    let question = json!({
        "messages": [{ "role": "user", "content": { "type": "text", "text": prompt } }],
        "maxTokens": 100,
    });
    match context.peer.create_message(typed(question)).await {
        Ok(answer) => said(format!("LLM response: {}", json!(answer))),
        Err(error) => failed(&error.to_string()),
    }
}

async fn logged(context: &RequestContext<RoleServer>) -> Value {
    for step in ["started", "processing data", "completed"] {
        let message =
            json!({ "level": "info", "logger": "fixture", "data": format!("Tool {step}") });
        let _ = context.peer.notify_logging_message(typed(message)).await;
        tokio::time::sleep(STEP).await;
    }
    said("logged")
}

async fn progressed(context: &RequestContext<RoleServer>) -> Value {
    if let Some(token) = context.meta.get_progress_token() {
        for progress in [0, 50, 100] {
            let told = json!({ "progressToken": token, "progress": progress, "total": 100 });
            let _ = context.peer.notify_progress(typed(told)).await;
            tokio::time::sleep(STEP).await;
        }
    }
    said("done")
}

fn resource(uri: &str) -> Option<Value> {
    let contents = match uri {
        "test://static-text" | "test://watched-resource" => {
            json!({ "uri": uri, "mimeType": "text/plain", "text": "A text that never changes." })
        }
        "test://static-binary" => json!({ "uri": uri, "mimeType": "image/png", "blob": PNG }),
        _ => {
            let id = uri
                .strip_prefix("test://template/")?
                .strip_suffix("/data")?;
            let text =
                json!({ "id": id, "templateTest": true, "data": format!("Data for ID: {id}") });
            json!({ "uri": uri, "mimeType": "application/json", "text": text.to_string() })
        }
    };
    Some(json!({ "contents": [contents] }))
}

impl ServerHandler for Fixture {
    async fn initialize(
        &self,
        request: InitializeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        Ok(typed(json!({
            "protocolVersion": request.protocol_version,
            "capabilities": {
                "tools": { "listChanged": true },
                "resources": { "subscribe": true, "listChanged": true },
                "prompts": { "listChanged": true },
                "completions": {},
                "logging": {},
            },
            "serverInfo": { "name": "fixture", "version": "1.0.0" },
        })))
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(typed(tools()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = json!(request.arguments.unwrap_or_default());
        let argument = |name: &str| arguments[name].as_str().unwrap_or_default().to_owned();
        let image = json!({ "type": "image", "data": PNG, "mimeType": "image/png" });
        let embedded = |uri: &str, kind: &str, text: &str| json!({ "type": "resource", "resource": { "uri": uri, "mimeType": kind, "text": text } });
        let result = match &*request.name {
            "test_simple_text" => said("This is a simple text response for testing."),
            "test_image_content" => json!({ "content": [image] }),
            "test_audio_content" => {
                json!({ "content": [{ "type": "audio", "data": WAV, "mimeType": "audio/wav" }] })
            }
            "test_embedded_resource" => json!({
                "content": [embedded("test://embedded-resource", "text/plain", "embedded")],
            }),
            "test_multiple_content_types" => json!({
                "content": [
                    { "type": "text", "text": "Multiple content types test:" },
                    image,
                    embedded("test://mixed-content-resource", "application/json", "{\"value\":123}"),
                ],
            }),
            "test_tool_with_logging" => logged(&context).await,
            "test_error_handling" => failed("This tool intentionally returns an error for testing"),
            "test_tool_with_progress" => progressed(&context).await,
            "test_sampling" => sampled(&context, &argument("prompt")).await,
            "test_elicitation" => {
                let form = json!({
                    "type": "object",
                    "properties": {
                        "username": { "type": "string", "description": "User's response" },
                        "email": { "type": "string", "description": "User's email address" },
                    },
                    "required": ["username", "email"],
                });
                asked(&context, &argument("message"), form).await
            }
            "test_elicitation_sep1034_defaults" => {
                asked(&context, "Is this right?", filled_in()).await
            }
            "test_elicitation_sep1330_enums" => asked(&context, "Which?", choices()).await,
            "test_reconnection" => {
                tokio::time::sleep(2 * STEP).await;
                said("still here")
            }
            "json_schema_2020_12_tool" => said(format!("Hello, {}", argument("name"))),
            name => return Err(unknown("tool", name)),
        };
        Ok(typed::<CallToolResult>(result).into())
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let resource = |uri: &str, name: &str, kind: &str| {
            let description = format!("{name}, for testing");
            json!({ "uri": uri, "name": name, "description": description, "mimeType": kind })
        };
        Ok(typed(json!({ "resources": [
            resource("test://static-text", "Static text", "text/plain"),
            resource("test://static-binary", "Static image", "image/png"),
            resource("test://watched-resource", "Watched text", "text/plain"),
        ] })))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(typed(json!({ "resourceTemplates": [{
            "uriTemplate": "test://template/{id}/data",
            "name": "Data by id",
            "description": "A template, for testing",
            "mimeType": "application/json",
        }] })))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let found = resource(&request.uri).map(typed::<ReadResourceResult>);
        found.map(Into::into).ok_or_else(|| {
            let data = json!({ "uri": request.uri });
            ErrorData::resource_not_found("there is no such resource", Some(data))
        })
    }

    async fn subscribe(
        &self,
        _: SubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn unsubscribe(
        &self,
        _: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn set_level(
        &self,
        _: SetLevelRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let argument = |name: &str| json!({ "name": name, "description": format!("The {name}"), "required": true });
        Ok(typed(json!({ "prompts": [
            { "name": "test_simple_prompt", "description": "Simple" },
            {
                "name": "test_prompt_with_arguments",
                "description": "With arguments",
                "arguments": [argument("arg1"), argument("arg2")],
            },
            {
                "name": "test_prompt_with_embedded_resource",
                "description": "With a resource",
                "arguments": [argument("resourceUri")],
            },
            { "name": "test_prompt_with_image", "description": "With an image" },
        ] })))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let arguments = json!(request.arguments.unwrap_or_default());
        let argument = |name: &str| arguments[name].as_str().unwrap_or_default().to_owned();
        let user = |content: Value| json!({ "role": "user", "content": content });
        let text = |text: String| user(json!({ "type": "text", "text": text }));
        let messages = match &*request.name {
            "test_simple_prompt" => json!([text("This is a simple prompt.".to_owned())]),
            "test_prompt_with_arguments" => {
                let (one, two) = (argument("arg1"), argument("arg2"));
                json!([text(format!(
                    "Prompt with arguments: arg1='{one}', arg2='{two}'"
                ))])
            }
            "test_prompt_with_embedded_resource" => json!([
                user(json!({ "type": "resource", "resource": {
                    "uri": argument("resourceUri"),
                    "mimeType": "text/plain",
                    "text": "Embedded resource content for testing.",
                } })),
                text("Please process the embedded resource above.".to_owned()),
            ]),
            "test_prompt_with_image" => json!([
                user(json!({ "type": "image", "data": PNG, "mimeType": "image/png" })),
                text("Please analyze the image above.".to_owned()),
            ]),
            name => return Err(unknown("prompt", name)),
        };
        let result = json!({ "description": "For testing", "messages": messages });
        Ok(typed::<GetPromptResult>(result).into())
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let value = &request.argument.value;
        let values: Vec<&str> = ["paris", "park", "party"]
            .into_iter()
            .filter(|word| word.starts_with(value.as_str()))
            .collect();
        let completion = json!({ "values": values, "total": values.len(), "hasMore": false });
        Ok(typed(json!({ "completion": completion })))
    }
}
